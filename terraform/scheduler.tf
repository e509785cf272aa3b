# The pulse: on_tick looks at every deployment that is due. Two ticks at once
# do no harm, and one that is lost is made up for by the next.
resource "google_cloud_scheduler_job" "tick" {
  name             = "weightdrop-tick"
  project          = var.project
  region           = var.region
  description      = "Has on_tick look at every deployment that is due."
  schedule         = "* * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "540s"

  retry_config {
    retry_count          = 3
    min_backoff_duration = "5s"
    max_backoff_duration = "20s"
  }

  http_target {
    http_method = "POST"
    uri         = module.function["on_tick"].uri
    body        = base64encode("{}")
    headers     = { "Content-Type" = "application/json" }

    oidc_token {
      service_account_email = google_service_account.scheduler.email
      audience              = module.function["on_tick"].uri
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_service_account" "scheduler" {
  account_id   = "weightdrop-scheduler"
  project      = var.project
  display_name = "Weightdrop: calls on_tick"

  depends_on = [google_project_service.this]
}
