# The serving image.
resource "google_artifact_registry_repository" "serving" {
  project       = var.project
  location      = var.region
  repository_id = "weightdrop-serving"
  description   = "The image that serves models."
  format        = "DOCKER"
  labels        = local.labels
  kms_key_name  = var.kms_key

  # Vertex AI keeps its own copy of an image that a model was made with.
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 5
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "2592000s"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agents, google_project_service.this]
}

# What Cloud Functions builds from the source.
resource "google_artifact_registry_repository" "functions" {
  project       = var.project
  location      = var.region
  repository_id = "weightdrop-functions"
  description   = "Images that Cloud Functions builds and runs."
  format        = "DOCKER"
  labels        = local.labels
  kms_key_name  = var.kms_key

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 3
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "2592000s"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agents, google_project_service.this]
}
