# Builds the functions and the serving image, instead of the default account,
# which may do much more.
resource "google_service_account" "build" {
  account_id   = "weightdrop-build"
  project      = var.project
  display_name = "Weightdrop: builds functions and the serving image"

  depends_on = [google_project_service.this]
}

resource "google_artifact_registry_repository_iam_member" "build" {
  for_each = {
    functions = google_artifact_registry_repository.functions.name
    serving   = google_artifact_registry_repository.serving.name
  }

  project    = var.project
  location   = var.region
  repository = each.value
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}

# Cloud Functions builds from a copy of the source in a bucket of its own.
resource "google_project_iam_member" "build_sources" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.build.member

  condition {
    title      = "weightdrop-function-sources"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${local.number}-${var.region}\")"
  }
}

resource "google_project_iam_member" "build_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}
