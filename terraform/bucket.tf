# The watched bucket: what is dropped here is deployed.
resource "google_storage_bucket" "models" {
  # checkov:skip=CKV_GCP_62:Who reads and writes is in Cloud Audit Logs; access logs would need a bucket that logs itself.
  # checkov:skip=CKV_GCP_78:Weights are large: soft delete restores them for a week at half the price of versions, which are a variable.
  name     = local.bucket
  project  = var.project
  location = var.region
  labels   = local.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = var.bucket.versioning
  }

  soft_delete_policy {
    retention_duration_seconds = var.bucket.soft_delete_days * 86400
  }

  # Parts of uploads that were never finished are paid for and seen by nobody.
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.bucket.versioning ? [var.bucket.noncurrent_days] : []
    content {
      action {
        type = "Delete"
      }
      condition {
        days_since_noncurrent_time = lifecycle_rule.value
        with_state                 = "ARCHIVED"
      }
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.bucket.delete_after_days == null ? [] : [var.bucket.delete_after_days]
    content {
      action {
        type = "Delete"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agents, google_project_service.this]
}

# Those who look into drops: headers, never whole weights.
resource "google_storage_bucket_iam_member" "inspectors" {
  for_each = toset(["on_artifact", "on_tick", "status"])

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectViewer"
  member = module.function[each.value].member
}

# A serving container that reads the bucket itself may, and nothing else anywhere;
# Vertex AI's copies are opened to it by Vertex AI.
resource "google_storage_bucket_iam_member" "serving" {
  count = var.weights == "direct" ? 1 : 0

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.serving.member
}

# Whoever admits weights that are read directly looks at how the bucket keeps them.
resource "google_storage_bucket_iam_member" "keepers" {
  for_each = var.weights == "direct" ? toset(["on_artifact", "on_tick", "status"]) : []

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.legacyBucketReader"
  member = module.function[each.value].member
}

resource "google_storage_bucket_iam_member" "readers" {
  for_each = toset(var.bucket.readers)

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectViewer"
  member = each.value
}

resource "google_storage_bucket_iam_member" "writers" {
  for_each = toset(var.bucket.writers)

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectUser"
  member = each.value
}

# Cloud Storage tells Eventarc of finalized objects over Pub/Sub.
resource "google_project_iam_member" "storage_events" {
  project = var.project
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:${local.agents.storage}"
}
