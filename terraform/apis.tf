locals {
  apis = concat(
    [
      "aiplatform.googleapis.com",
      "artifactregistry.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudfunctions.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "cloudscheduler.googleapis.com",
      "eventarc.googleapis.com",
      "firestore.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "storage.googleapis.com",
    ],
    var.kms_key == null ? [] : ["cloudkms.googleapis.com"],
    var.budget == null ? [] : ["billingbudgets.googleapis.com"],
    var.telemetry == "google" ? ["telemetry.googleapis.com"] : [],
  )
}

resource "google_project_service" "this" {
  for_each = toset(local.apis)

  project = var.project
  service = each.value

  # Others in the project may live off the same API.
  disable_on_destroy = false
}

data "google_project" "this" {
  project_id = var.project

  depends_on = [google_project_service.this["cloudresourcemanager.googleapis.com"]]
}

# Reading it makes it: a new project's storage agent does not exist before.
data "google_storage_project_service_account" "this" {
  project = var.project

  depends_on = [google_project_service.this["storage.googleapis.com"]]
}
