resource "google_cloudfunctions2_function" "this" {
  # checkov:skip=CKV_GCP_124:People and programs call status from anywhere, always through IAM; the others take internal calls only.
  name         = var.name
  project      = var.project
  location     = var.region
  description  = var.description
  labels       = var.labels
  kms_key_name = var.kms_key

  build_config {
    runtime           = var.build.runtime
    entry_point       = var.entry_point
    service_account   = var.build.account
    docker_repository = var.build.repository

    source {
      storage_source {
        bucket = var.source_archive.bucket
        object = var.source_archive.object
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.this.email
    environment_variables            = var.environment
    available_memory                 = var.scale.memory
    available_cpu                    = var.scale.cpu
    timeout_seconds                  = var.scale.timeout
    max_instance_request_concurrency = var.scale.concurrency
    min_instance_count               = var.scale.min_instances
    max_instance_count               = var.scale.max_instances
    ingress_settings                 = var.ingress
    all_traffic_on_latest_revision   = true
    vpc_connector                    = var.vpc_connector
    vpc_connector_egress_settings    = var.vpc_connector == null ? null : "PRIVATE_RANGES_ONLY"
  }

  dynamic "event_trigger" {
    for_each = var.trigger == null ? [] : [var.trigger]
    content {
      trigger_region        = var.region
      event_type            = event_trigger.value.event_type
      pubsub_topic          = event_trigger.value.topic
      service_account_email = event_trigger.value.account
      retry_policy          = "RETRY_POLICY_RETRY"

      dynamic "event_filters" {
        for_each = event_trigger.value.filters
        content {
          attribute = event_filters.key
          value     = event_filters.value
        }
      }
    }
  }
}
