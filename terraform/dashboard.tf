locals {
  # Title, metric filter, aligner, reducer, and what keeps series apart.
  charts = [
    {
      title  = "Events by type"
      filter = "resource.type=\"cloud_run_revision\" metric.type=\"${local.metrics}/${google_logging_metric.events.name}\""
      align  = "ALIGN_DELTA"
      reduce = "REDUCE_SUM"
      by     = ["metric.label.event"]
    },
    {
      title  = "Longest time in a phase (seconds)"
      filter = "resource.type=\"cloud_run_revision\" metric.type=\"${local.metrics}/${google_logging_metric.phase_seconds.name}\""
      align  = "ALIGN_PERCENTILE_99"
      reduce = "REDUCE_MAX"
      by     = ["metric.label.phase"]
    },
    {
      title  = "Replicas that run, by endpoint"
      filter = "resource.type=\"aiplatform.googleapis.com/Endpoint\" metric.type=\"aiplatform.googleapis.com/prediction/online/replicas\""
      align  = "ALIGN_MAX"
      reduce = "REDUCE_SUM"
      by     = ["resource.label.endpoint_id"]
    },
    {
      title  = "Predictions, by endpoint"
      filter = "resource.type=\"aiplatform.googleapis.com/Endpoint\" metric.type=\"aiplatform.googleapis.com/prediction/online/prediction_count\""
      align  = "ALIGN_RATE"
      reduce = "REDUCE_SUM"
      by     = ["resource.label.endpoint_id"]
    },
    {
      title  = "Messages that wait, by subscription"
      filter = "resource.type=\"pubsub_subscription\" metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      align  = "ALIGN_MAX"
      reduce = "REDUCE_MAX"
      by     = ["resource.label.subscription_id"]
    },
    {
      title  = "Calls of the functions, by answer"
      filter = "resource.type=\"cloud_run_revision\" metric.type=\"run.googleapis.com/request_count\" resource.label.service_name=monitoring.regex.full_match(\"weightdrop-.*\")"
      align  = "ALIGN_RATE"
      reduce = "REDUCE_SUM"
      by     = ["resource.label.service_name", "metric.label.response_code_class"]
    },
  ]
}

resource "google_monitoring_dashboard" "this" {
  project = var.project
  dashboard_json = jsonencode({
    displayName = "Weightdrop"
    labels      = { weightdrop = "" }
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, chart in local.charts : {
          xPos   = index % 2 * 6
          yPos   = floor(index / 2) * 4
          width  = 6
          height = 4
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [{
                plotType = "LINE"
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter = chart.filter
                    aggregation = {
                      alignmentPeriod    = "60s"
                      perSeriesAligner   = chart.align
                      crossSeriesReducer = chart.reduce
                      groupByFields      = chart.by
                    }
                  }
                }
              }]
            }
          }
        }
      ]
    }
  })

  depends_on = [google_project_service.this]
}
