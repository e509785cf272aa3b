# Each function runs as an account of its own, which is given what it calls.
resource "google_service_account" "this" {
  account_id   = var.name
  project      = var.project
  display_name = "Weightdrop: ${var.entry_point}"
}

# A function of the second generation is invoked as the service behind it.
resource "google_cloud_run_v2_service_iam_member" "invokers" {
  for_each = var.invokers

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.this.name
  role     = "roles/run.invoker"
  member   = each.value
}
