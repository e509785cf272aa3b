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

# The end of a deployment, told by Vertex AI's audit log: on_request looks at it at
# once, which the next tick would do in any case. Administrative calls are always
# logged, at no cost.
resource "google_eventarc_trigger" "operations" {
  for_each = var.audit_events ? toset(["v1", "v1beta1"]) : []

  name            = "weightdrop-operations-${each.key}"
  project         = var.project
  location        = var.region
  labels          = local.labels
  service_account = google_service_account.trigger.email

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.audit.log.v1.written"
  }
  matching_criteria {
    attribute = "serviceName"
    value     = "aiplatform.googleapis.com"
  }
  matching_criteria {
    attribute = "methodName"
    value     = "google.cloud.aiplatform.${each.key}.EndpointService.DeployModel"
  }

  destination {
    cloud_run_service {
      service = module.function["on_request"].service
      region  = var.region
    }
  }

  depends_on = [google_project_iam_member.trigger]
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
