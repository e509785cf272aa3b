# Metrics made from the functions' structured logs.
resource "google_logging_metric" "events" {
  name        = "weightdrop/events"
  project     = var.project
  description = "Events that were published, by type."
  filter      = "resource.type=\"cloud_run_revision\" AND jsonPayload.event=~\"^weightdrop\\.deployment\\.\""

  label_extractors = {
    event = "EXTRACT(jsonPayload.event)"
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    labels {
      key         = "event"
      value_type  = "STRING"
      description = "Type of the event."
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_logging_metric" "phase_seconds" {
  name            = "weightdrop/phase_seconds"
  project         = var.project
  description     = "How long a deployment that the tick looked at had been in its phase."
  filter          = "resource.type=\"cloud_run_revision\" AND jsonPayload.phase_seconds>=0"
  value_extractor = "EXTRACT(jsonPayload.phase_seconds)"

  label_extractors = {
    phase = "EXTRACT(jsonPayload.phase)"
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"

    labels {
      key         = "phase"
      value_type  = "STRING"
      description = "The phase."
    }
  }

  bucket_options {
    exponential_buckets {
      num_finite_buckets = 40
      growth_factor      = 1.4
      scale              = 1
    }
  }

  depends_on = [google_project_service.this]
}

# Who sends traces and metrics itself; see docs/guides/observe.md.
resource "google_project_iam_member" "telemetry" {
  for_each = var.telemetry == "google" ? {
    for pair in setproduct(keys(local.functions), ["tracesWriter", "metricsWriter"]) :
    join(".", pair) => pair
  } : {}

  project = var.project
  role    = "roles/telemetry.${each.value[1]}"
  member  = module.function[each.value[0]].member
}
