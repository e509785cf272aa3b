# The status function is asked as a user would ask it: through IAM, down to the
# records.
resource "google_monitoring_uptime_check_config" "status" {
  count = var.alerts.uptime ? 1 : 0

  project      = var.project
  display_name = "weightdrop-status"
  period       = "300s"
  timeout      = "30s"
  user_labels  = local.labels

  http_check {
    path         = "/deployments?pageSize=1"
    port         = 443
    use_ssl      = true
    validate_ssl = true

    service_agent_authentication {
      type = "OIDC_TOKEN"
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = trimprefix(module.function["status"].uri, "https://")
    }
  }
}

# Making the check makes the account that asks: a new project has none before.
resource "google_cloud_run_v2_service_iam_member" "uptime" {
  count = var.alerts.uptime ? 1 : 0

  project  = var.project
  location = var.region
  name     = module.function["status"].service
  role     = "roles/run.invoker"
  member   = "serviceAccount:${local.agents.monitoring}"

  depends_on = [google_monitoring_uptime_check_config.status]
}
