locals {
  # The four functions of one source. `publishes` names topics of topics.tf.
  functions = {
    on_artifact = {
      description = "Looks at a folder whose objects changed: validates, plans, asks for a deployment."
      publishes   = ["events", "requests"]
      timeout     = 540
      cpu         = "1"
      concurrency = 8
      ingress     = "ALLOW_INTERNAL_ONLY"
      event = {
        type    = "google.cloud.storage.object.v1.finalized"
        filters = { bucket = google_storage_bucket.models.name }
        topic   = null
      }
      invokers = { trigger = google_service_account.trigger.member }
    }
    on_request = {
      description = "Takes the steps of one deployment in Vertex AI."
      publishes   = ["events", "requests", "dead_letters"]
      timeout     = 540
      cpu         = "1"
      concurrency = 4
      ingress     = "ALLOW_INTERNAL_ONLY"
      event = {
        type    = "google.cloud.pubsub.topic.v1.messagePublished"
        filters = {}
        topic   = google_pubsub_topic.this["requests"].id
      }
      invokers = { trigger = google_service_account.trigger.member }
    }
    on_tick = {
      description = "Looks at every deployment that is due, and at what nobody claims."
      publishes   = ["events", "requests"]
      timeout     = 540
      cpu         = "1"
      concurrency = 1
      ingress     = "ALLOW_INTERNAL_ONLY"
      event       = null
      invokers    = { scheduler = google_service_account.scheduler.member }
    }
    status = {
      description = "Answers people and programs, and takes their orders."
      publishes   = ["events", "requests"]
      timeout     = 120
      cpu         = "1"
      concurrency = 40
      ingress     = "ALLOW_ALL"
      event       = null
      invokers    = { for member in var.status_invokers : member => member }
    }
  }

  # Every setting that the cloud needs; the names are those of settings.py.
  environment = {
    WEIGHTDROP_BACKEND           = "cloud"
    WEIGHTDROP_PROJECT           = var.project
    WEIGHTDROP_REGION            = var.region
    WEIGHTDROP_FALLBACK_REGIONS  = join(",", var.settings.fallback_regions)
    WEIGHTDROP_PACE_SECONDS      = tostring(var.settings.pace_seconds)
    WEIGHTDROP_BUCKETS           = google_storage_bucket.models.name
    WEIGHTDROP_DATABASE          = google_firestore_database.records.name
    WEIGHTDROP_SERVING_IMAGE     = local.serving_image
    WEIGHTDROP_WEIGHTS           = var.weights
    WEIGHTDROP_SERVING_ACCOUNT   = google_service_account.serving.email
    WEIGHTDROP_BASE_URL          = local.status_url
    WEIGHTDROP_KMS_KEY           = var.kms_key == null ? "" : var.kms_key
    WEIGHTDROP_PRIVATE_PROJECTS  = join(",", try(var.private_endpoints.projects, []))
    WEIGHTDROP_PRIVATE_NETWORK   = try(var.private_endpoints.network, "")
    WEIGHTDROP_SETTLE_SECONDS    = tostring(var.settings.settle_seconds)
    WEIGHTDROP_WAITING_SECONDS   = tostring(var.settings.waiting_seconds)
    WEIGHTDROP_DEPLOY_SECONDS    = tostring(var.settings.deploy_seconds)
    WEIGHTDROP_VERIFY_SECONDS    = tostring(var.settings.verify_seconds)
    WEIGHTDROP_OPERATION_SECONDS = tostring(var.settings.operation_seconds)
    WEIGHTDROP_LEASE_SECONDS     = tostring(var.settings.lease_seconds)
    WEIGHTDROP_RETIRE_ON_DELETE  = tostring(var.settings.retire_on_delete)
    WEIGHTDROP_POLL_SECONDS      = tostring(var.settings.poll_seconds)
    WEIGHTDROP_STRICT            = tostring(var.settings.strict)
    WEIGHTDROP_TELEMETRY         = var.telemetry
  }
}

# The source of all functions: one object, named by its content, so that other
# content is another deployment.
resource "google_storage_bucket" "source" {
  # checkov:skip=CKV_GCP_62:It holds what is in the repository; who reads it is in Cloud Audit Logs.
  # checkov:skip=CKV_GCP_78:Objects are named by their content and never overwritten.
  name     = "${var.project}-weightdrop-source"
  project  = var.project
  location = var.region
  labels   = local.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # What `make image` uploads is needed for one build.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 7
      matches_prefix = ["image/"]
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

resource "google_storage_bucket_object" "source" {
  name   = "functions/${filemd5(var.functions_zip)}.zip"
  bucket = google_storage_bucket.source.name
  source = var.functions_zip
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  project       = var.project
  region        = var.region
  name          = "weightdrop-${replace(each.key, "_", "-")}"
  description   = each.value.description
  entry_point   = each.key
  labels        = local.labels
  environment   = local.environment
  kms_key       = var.kms_key
  vpc_connector = try(var.private_endpoints.vpc_connector, null)

  source_archive = {
    bucket = google_storage_bucket.source.name
    object = google_storage_bucket_object.source.name
  }
  build = {
    account    = google_service_account.build.id
    repository = google_artifact_registry_repository.functions.id
    runtime    = var.functions.runtime
  }
  scale = {
    memory        = var.functions.memory
    cpu           = each.value.cpu
    timeout       = each.value.timeout
    concurrency   = each.value.concurrency
    min_instances = var.functions.min_instances
    max_instances = var.functions.max_instances
  }
  ingress = each.value.ingress
  trigger = each.value.event == null ? null : {
    event_type = each.value.event.type
    filters    = each.value.event.filters
    topic      = each.value.event.topic
    account    = google_service_account.trigger.email
  }
  invokers = each.value.invokers

  depends_on = [
    google_artifact_registry_repository_iam_member.build,
    google_kms_crypto_key_iam_member.agents,
    google_project_iam_member.build_logs,
    google_project_iam_member.build_sources,
    google_project_iam_member.storage_events,
    google_project_iam_member.trigger,
    google_project_service.this,
    google_storage_bucket_iam_member.build,
  ]
}
