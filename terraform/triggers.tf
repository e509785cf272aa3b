# Deleted objects come to the same function as finalized ones; a function has
# one trigger of its own, so this one stands beside it.
resource "google_eventarc_trigger" "deleted" {
  name            = "weightdrop-deleted"
  project         = var.project
  location        = var.region
  labels          = local.labels
  service_account = google_service_account.trigger.email

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.storage.object.v1.deleted"
  }
  matching_criteria {
    attribute = "bucket"
    value     = google_storage_bucket.models.name
  }

  destination {
    cloud_run_service {
      service = module.function["on_artifact"].service
      region  = var.region
    }
  }

  depends_on = [google_project_iam_member.storage_events, google_project_iam_member.trigger]
}

# Eventarc delivers as this account; each function says that it may invoke it.
resource "google_service_account" "trigger" {
  account_id   = "weightdrop-trigger"
  project      = var.project
  display_name = "Weightdrop: delivers events to the functions"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "trigger" {
  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.trigger.member
}
