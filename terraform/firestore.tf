locals {
  # Every composite index that a query of the records needs.
  indexes = {
    deployments_by_phase = {
      collection = "deployments"
      fields     = [["phase", "ASCENDING"], ["updated", "DESCENDING"]]
    }
  }

  # Large, never queried: an index of them would be paid for with each write.
  unindexed = {
    "deployments.record" = ["deployments", "record"]
    "deployments.nonce"  = ["deployments", "nonce"]
    "revisions.record"   = ["revisions", "record"]
    "events.record"      = ["events", "record"]
  }
}

resource "google_firestore_database" "records" {
  project                           = var.project
  name                              = var.database
  location_id                       = var.region
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "OPTIMISTIC"
  app_engine_integration_mode       = "DISABLED"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"

  delete_protection_state = (
    var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  )
  deletion_policy = "DELETE"

  dynamic "cmek_config" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = cmek_config.value
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agents, google_project_service.this]
}

resource "google_firestore_backup_schedule" "daily" {
  project   = var.project
  database  = google_firestore_database.records.name
  retention = "604800s"

  daily_recurrence {}
}

resource "google_firestore_index" "this" {
  for_each = local.indexes

  project     = var.project
  database    = google_firestore_database.records.name
  collection  = each.value.collection
  query_scope = "COLLECTION"

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path = fields.value[0]
      order      = fields.value[1]
    }
  }
}

# Firestore removes an event when the time in this field has passed.
resource "google_firestore_field" "events_expire" {
  project    = var.project
  database   = google_firestore_database.records.name
  collection = "events"
  field      = "expires"

  # Times that only grow make an index of them the slowest part of a write.
  index_config {}
  ttl_config {}
}

resource "google_firestore_field" "unindexed" {
  for_each = local.unindexed

  project    = var.project
  database   = google_firestore_database.records.name
  collection = each.value[0]
  field      = each.value[1]

  index_config {}
}

# Reading and writing documents, of this database alone.
resource "google_project_iam_member" "records" {
  for_each = local.functions

  project = var.project
  role    = "roles/datastore.user"
  member  = module.function[each.key].member

  condition {
    title      = "weightdrop-records"
    expression = "resource.name == \"projects/${var.project}/databases/${google_firestore_database.records.name}\""
  }
}
