locals {
  # The label that the functions put on what they make in Vertex AI.
  labels = merge(var.labels, { weightdrop = "true" })

  number = data.google_project.this.number

  # Google's own accounts in this project. They are named by its number: the
  # resource that would look them up is in another provider.
  agents = {
    aiplatform       = "service-${local.number}@gcp-sa-aiplatform.iam.gserviceaccount.com"
    artifactregistry = "service-${local.number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    eventarc         = "service-${local.number}@gcp-sa-eventarc.iam.gserviceaccount.com"
    firestore        = "service-${local.number}@gcp-sa-firestore.iam.gserviceaccount.com"
    functions        = "service-${local.number}@gcf-admin-robot.iam.gserviceaccount.com"
    monitoring       = "service-${local.number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
    pubsub           = "service-${local.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    run              = "service-${local.number}@serverless-robot-prod.iam.gserviceaccount.com"
    storage          = data.google_storage_project_service_account.this.email_address
  }

  bucket = coalesce(var.bucket.name, "${var.project}-weightdrop-models")

  image_repository = join("/", [
    "${var.region}-docker.pkg.dev", var.project, google_artifact_registry_repository.serving.repository_id
  ])
  serving_image = coalesce(var.serving_image, "${local.image_repository}/serving:latest")

  # Cloud Functions answer here as well as at the address that Cloud Run draws;
  # this one is known before the function exists.
  status_url = "https://${var.region}-${var.project}.cloudfunctions.net/weightdrop-status"
}
