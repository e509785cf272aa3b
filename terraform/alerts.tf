locals {
  channels = [for one in google_monitoring_notification_channel.email : one.id]

  metrics = "logging.googleapis.com/user"

  # One condition each: a threshold on a metric. `align` is the aligner of one
  # series, `reduce` how series become one, `by` what keeps them apart.
  alerts = {
    failed = {
      title    = "Weightdrop: a deployment failed"
      severity = "ERROR"
      filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"${local.metrics}/${google_logging_metric.events.name}\" AND metric.labels.event=\"weightdrop.deployment.failed.v1\""
      align    = "ALIGN_DELTA"
      reduce   = "REDUCE_SUM"
      above    = 0
      period   = "60s"
      duration = "0s"
      advice   = "`weightdrop status` names it, with the reason, the server's last words and what to do. See the log of on_tick and on_request for the rest."
    }
    stuck = {
      title    = "Weightdrop: a deployment does not leave its phase"
      severity = "ERROR"
      filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"${local.metrics}/${google_logging_metric.phase_seconds.name}\" AND metric.labels.phase!=\"waiting\""
      align    = "ALIGN_PERCENTILE_99"
      reduce   = "REDUCE_MAX"
      above    = var.alerts.stuck_seconds
      period   = "300s"
      duration = "0s"
      advice   = "A phase gives up by itself at its deadline, so something keeps it from being looked at: read the log of on_tick for that deployment."
    }
    dead_letters = {
      title    = "Weightdrop: there are dead letters"
      severity = "ERROR"
      filter   = "resource.type=\"pubsub_subscription\" AND metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.dead_letters.name}\""
      align    = "ALIGN_MAX"
      reduce   = "REDUCE_MAX"
      above    = 0
      period   = "300s"
      duration = "0s"
      advice   = "`gcloud pubsub subscriptions pull weightdrop-dead-letters` shows them with the reason; acknowledge them when you have seen to it."
    }
    errors = {
      title    = "Weightdrop: functions fail"
      severity = "WARNING"
      filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"run.googleapis.com/request_count\" AND metric.labels.response_code_class=\"5xx\" AND resource.labels.service_name=monitoring.regex.full_match(\"weightdrop-(on-artifact|on-request|on-tick|status)\")"
      align    = "ALIGN_DELTA"
      reduce   = "REDUCE_SUM"
      above    = 20
      period   = "600s"
      duration = "0s"
      advice   = "Single failures are delivered again and do no harm; many have a cause that the functions' log names."
    }
    spend = {
      title    = "Weightdrop: more replicas run than expected"
      severity = "WARNING"
      filter   = "resource.type=\"aiplatform.googleapis.com/Endpoint\" AND metric.type=\"aiplatform.googleapis.com/prediction/online/replicas\""
      align    = "ALIGN_MAX"
      reduce   = "REDUCE_SUM"
      above    = var.alerts.replicas
      period   = "300s"
      duration = "600s"
      advice   = "Each replica is paid for by the hour. `weightdrop status` shows what is ready and what it costs; `weightdrop undeploy ID` ends it."
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alert_emails)

  project      = var.project
  display_name = "Weightdrop: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }
  user_labels  = local.labels

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  project               = var.project
  display_name          = each.value.title
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = each.value.duration

      aggregations {
        alignment_period     = each.value.period
        per_series_aligner   = each.value.align
        cross_series_reducer = each.value.reduce
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    content   = each.value.advice
    mime_type = "text/markdown"
  }
}

# Without the pulse nothing moves, and nothing would say so.
resource "google_monitoring_alert_policy" "pulse" {
  project               = var.project
  display_name          = "Weightdrop: the tick does not run"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "No successful tick for ten minutes"

    condition_absent {
      filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"run.googleapis.com/request_count\" AND metric.labels.response_code_class=\"2xx\" AND resource.labels.service_name=\"${module.function["on_tick"].service}\""
      duration = "600s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "Look at the job weightdrop-tick in Cloud Scheduler and at the log of on_tick."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "uptime" {
  count = var.alerts.uptime ? 1 : 0

  project               = var.project
  display_name          = "Weightdrop: the status function does not answer"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "Uptime check failed"

    condition_threshold {
      filter          = "resource.type=\"uptime_url\" AND metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND metric.labels.check_id=\"${google_monitoring_uptime_check_config.status[0].uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "600s"

      aggregations {
        alignment_period     = "1200s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.*"]
      }
    }
  }

  documentation {
    content   = "Deployments and endpoints go on without it; the command line and the page do not. Read the log of weightdrop-status."
    mime_type = "text/markdown"
  }
}

# What Vertex AI and all else cost that carry our label, month by month.
resource "google_billing_budget" "this" {
  count = var.budget == null ? 0 : 1

  billing_account = var.budget.billing_account
  display_name    = "Weightdrop in ${var.project}"

  budget_filter {
    projects               = ["projects/${local.number}"]
    labels                 = { weightdrop = "true" }
    credit_types_treatment = "INCLUDE_ALL_CREDITS"
  }

  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = tostring(var.budget.monthly)
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }
  threshold_rules {
    threshold_percent = 1
  }
  threshold_rules {
    threshold_percent = 1
    spend_basis       = "FORECASTED_SPEND"
  }

  dynamic "all_updates_rule" {
    for_each = length(local.channels) == 0 ? [] : [local.channels]
    content {
      # A budget notifies at most five channels.
      monitoring_notification_channels = slice(
        all_updates_rule.value, 0, min(5, length(all_updates_rule.value))
      )
    }
  }

  depends_on = [google_project_service.this]
}
