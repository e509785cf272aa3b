output "member" {
  description = "The function's account as an IAM member."
  value       = google_service_account.this.member
}

output "name" {
  description = "The function's name."
  value       = google_cloudfunctions2_function.this.name
}

output "service" {
  description = "The Cloud Run service behind the function."
  value       = google_cloudfunctions2_function.this.name
}

output "trigger" {
  description = "Name of Eventarc's trigger; null for calls over HTTP."
  value       = try(google_cloudfunctions2_function.this.event_trigger[0].trigger, null)
}

output "uri" {
  description = "Where the service answers."
  value       = google_cloudfunctions2_function.this.service_config[0].uri
}
