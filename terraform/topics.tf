locals {
  topics = {
    events       = "weightdrop-events"
    requests     = "weightdrop-requests"
    dead_letters = "weightdrop-dead-letters"
  }
}

resource "google_pubsub_topic" "this" {
  for_each = local.topics

  name         = each.value
  project      = var.project
  labels       = local.labels
  kms_key_name = var.kms_key

  # Messages stay where their keys are, and where the region's law is.
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  message_retention_duration = "${var.retention.topic_days * 86400}s"

  depends_on = [google_kms_crypto_key_iam_member.agents, google_project_service.this]
}

# Who may publish where: what a function's code publishes, and no more.
resource "google_pubsub_topic_iam_member" "publishers" {
  for_each = merge([
    for name, function in local.functions : {
      for topic in function.publishes : "${name}.${topic}" => {
        topic = topic
        name  = name
      }
    }
  ]...)

  project = var.project
  topic   = google_pubsub_topic.this[each.value.topic].name
  role    = "roles/pubsub.publisher"
  member  = module.function[each.value.name].member
}

# What could not be handled, for people to look at; an alert tells of it.
resource "google_pubsub_subscription" "dead_letters" {
  name    = local.topics.dead_letters
  project = var.project
  topic   = google_pubsub_topic.this["dead_letters"].id
  labels  = local.labels

  ack_deadline_seconds       = 60
  message_retention_duration = "${var.retention.dead_letter_days * 86400}s"

  # Nobody pulls for months while all is well; it must not expire meanwhile.
  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }
}

# The events, for whoever wants to know: one subscription for each of them.
resource "google_pubsub_subscription" "events" {
  for_each = var.subscriptions

  name    = "${local.topics.events}-${each.key}"
  project = var.project
  topic   = google_pubsub_topic.this["events"].id
  labels  = local.labels

  ack_deadline_seconds       = 60
  enable_message_ordering    = true
  message_retention_duration = "${var.retention.topic_days * 86400}s"

  filter = join(" OR ", [
    for type in each.value.types :
    "attributes.ce-type = \"weightdrop.deployment.${type}.v1\""
  ])

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.this["dead_letters"].id
    max_delivery_attempts = each.value.attempts
  }

  dynamic "push_config" {
    for_each = each.value.push_endpoint == null ? [] : [each.value]
    content {
      push_endpoint = push_config.value.push_endpoint

      dynamic "oidc_token" {
        for_each = push_config.value.push_account == null ? [] : [push_config.value]
        content {
          service_account_email = oidc_token.value.push_account
          audience              = oidc_token.value.push_endpoint
        }
      }
    }
  }
}

# Pub/Sub itself moves what is undeliverable: it publishes there, and
# acknowledges here.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  project = var.project
  topic   = google_pubsub_topic.this["dead_letters"].name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:${local.agents.pubsub}"
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = google_pubsub_subscription.events

  project      = var.project
  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = "serviceAccount:${local.agents.pubsub}"
}
