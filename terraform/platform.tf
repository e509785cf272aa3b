# What on_request and on_tick do in Vertex AI, and the log in which a model server
# says why it failed: exactly these permissions.
resource "google_project_iam_custom_role" "deployer" {
  project     = var.project
  role_id     = "weightdropDeployer"
  title       = "Weightdrop deployer"
  description = "Makes, asks and removes models and endpoints in Vertex AI, and reads why a server failed."

  permissions = [
    "aiplatform.endpoints.create",
    "aiplatform.endpoints.delete",
    "aiplatform.endpoints.deploy",
    "aiplatform.endpoints.get",
    "aiplatform.endpoints.list",
    "aiplatform.endpoints.predict",
    "aiplatform.endpoints.undeploy",
    "aiplatform.endpoints.update",
    "aiplatform.models.delete",
    "aiplatform.models.get",
    "aiplatform.models.list",
    "aiplatform.models.upload",
    "aiplatform.operations.list",
    "logging.logEntries.list",
  ]

  depends_on = [google_project_service.this]
}

locals {
  deployers = toset(["on_request", "on_tick"])
}

resource "google_project_iam_member" "deployers" {
  for_each = local.deployers

  project = var.project
  role    = google_project_iam_custom_role.deployer.name
  member  = module.function[each.key].member
}

# The account that serving containers run as.
resource "google_service_account" "serving" {
  account_id   = "weightdrop-serving"
  project      = var.project
  display_name = "Weightdrop: serves models"

  depends_on = [google_project_service.this]
}

# Whoever deploys a model as an account must be allowed to act as it.
resource "google_service_account_iam_member" "deployers" {
  for_each = local.deployers

  service_account_id = google_service_account.serving.name
  role               = "roles/iam.serviceAccountUser"
  member             = module.function[each.key].member
}
