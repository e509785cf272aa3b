output "bucket" {
  description = "The watched bucket."
  value       = "gs://${google_storage_bucket.models.name}"
}

output "dead_letters" {
  description = "The subscription that holds what could not be handled."
  value       = google_pubsub_subscription.dead_letters.name
}

output "events_topic" {
  description = "The topic that tells of every phase."
  value       = google_pubsub_topic.this["events"].id
}

output "image_repository" {
  description = "Where the serving image is pushed."
  value       = local.image_repository
}

output "requests_topic" {
  description = "The topic of deploy requests."
  value       = google_pubsub_topic.this["requests"].id
}

output "serving_image" {
  description = "The image that models are served with."
  value       = local.serving_image
}

output "status_command" {
  description = "How to ask for all deployments."
  value       = "curl -H \"Authorization: Bearer $(gcloud auth print-identity-token)\" ${local.status_url}/deployments"
}

output "status_url" {
  description = "Where the status function answers those who may invoke it."
  value       = local.status_url
}

output "subscriptions" {
  description = "Subscriptions of the completion events, by name."
  value       = { for name, one in google_pubsub_subscription.events : name => one.name }
}

output "triggers" {
  description = "Eventarc's triggers, whose subscriptions `make deploy` gives dead letters."
  value = sort(concat(
    [google_eventarc_trigger.deleted.id],
    [for one in google_eventarc_trigger.operations : one.id],
    [for one in module.function : one.trigger if one.trigger != null],
  ))
}

output "upload_command" {
  description = "How to drop a model."
  value       = "gcloud storage cp --recursive ./MODEL gs://${google_storage_bucket.models.name}/"
}
