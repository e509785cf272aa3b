# What the variables change.
mock_provider "google" {}

variables {
  project = "demo-project"
  region  = "us-central1"
}

run "data_is_protected_by_default" {
  command = plan

  assert {
    condition     = google_storage_bucket.models.force_destroy == false
    error_message = "A bucket that holds drops must refuse to go."
  }
  assert {
    condition     = google_firestore_database.records.delete_protection_state == "DELETE_PROTECTION_ENABLED"
    error_message = "The records must refuse to go."
  }
}

run "protection_can_be_taken_off" {
  command = plan
  variables {
    deletion_protection = false
  }

  assert {
    condition     = google_storage_bucket.models.force_destroy
    error_message = "Without protection the bucket goes with what is in it."
  }
  assert {
    condition     = google_firestore_database.records.delete_protection_state == "DELETE_PROTECTION_DISABLED"
    error_message = "Without protection the records go."
  }
}

run "only_uploads_that_never_ended_are_removed" {
  command = plan

  assert {
    condition     = [for rule in google_storage_bucket.models.lifecycle_rule : one(rule.action).type] == ["AbortIncompleteMultipartUpload"]
    error_message = "By default no drop is ever removed."
  }
}

run "old_versions_are_removed_where_there_are_any" {
  command = plan
  variables {
    bucket = { versioning = true, noncurrent_days = 3 }
  }

  assert {
    condition     = one(google_storage_bucket.models.lifecycle_rule[1].condition).days_since_noncurrent_time == 3
    error_message = "Old versions must not be kept for ever."
  }
}

run "events_are_filtered_by_type" {
  command = plan
  variables {
    subscriptions = { mine = { types = ["ready", "failed"] } }
  }

  assert {
    condition     = google_pubsub_subscription.events["mine"].filter == "attributes.ce-type = \"weightdrop.deployment.ready.v1\" OR attributes.ce-type = \"weightdrop.deployment.failed.v1\""
    error_message = "The filter must name exactly the wanted types."
  }
}

run "no_budget_without_a_billing_account" {
  command = plan

  assert {
    condition     = length(google_billing_budget.this) == 0
    error_message = "A budget is optional."
  }
  assert {
    condition     = !contains(keys(google_project_service.this), "billingbudgets.googleapis.com")
    error_message = "What is not used is not enabled."
  }
}

run "a_key_is_used_for_all_that_is_kept" {
  command = plan
  variables {
    kms_key = "projects/k/locations/us-central1/keyRings/r/cryptoKeys/k"
  }

  assert {
    condition = alltrue(concat(
      [for topic in google_pubsub_topic.this : topic.kms_key_name == var.kms_key],
      [for one in [google_storage_bucket.models, google_storage_bucket.source] : one.encryption[0].default_kms_key_name == var.kms_key],
      [google_firestore_database.records.cmek_config[0].kms_key_name == var.kms_key],
      [google_artifact_registry_repository.serving.kms_key_name == var.kms_key],
      [google_artifact_registry_repository.functions.kms_key_name == var.kms_key],
    ))
    error_message = "Everything that is kept must be under the key."
  }
}

run "our_label_cannot_be_taken_away" {
  command = plan
  variables {
    labels = { weightdrop = "false", team = "ml" }
  }

  assert {
    condition     = google_storage_bucket.models.labels == tomap({ weightdrop = "true", team = "ml" })
    error_message = "The budget and the sweep go by our label."
  }
}
