# What the variables refuse. No provider is asked: all of it is mocked.
mock_provider "google" {}

variables {
  project = "demo-project"
  region  = "us-central1"
}

run "defaults_are_enough" {
  command = plan
}

run "a_zone_is_no_region" {
  command = plan
  variables {
    region = "us-central1-a"
  }
  expect_failures = [var.region]
}

run "a_multi_region_is_no_region" {
  command = plan
  variables {
    region = "eu"
  }
  expect_failures = [var.region]
}

run "a_project_number_is_no_project" {
  command = plan
  variables {
    project = "123456789012"
  }
  expect_failures = [var.project]
}

run "the_bucket_is_never_public" {
  command = plan
  variables {
    bucket = { readers = ["allUsers"] }
  }
  expect_failures = [var.bucket]
}

run "soft_delete_keeps_a_week_or_nothing" {
  command = plan
  variables {
    bucket = { soft_delete_days = 3 }
  }
  expect_failures = [var.bucket]
}

run "status_is_never_open_to_all" {
  command = plan
  variables {
    status_invokers = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.status_invokers]
}

run "a_key_is_named_in_full" {
  command = plan
  variables {
    kms_key = "my-key"
  }
  expect_failures = [var.kms_key]
}

run "an_image_has_a_tag_or_a_digest" {
  command = plan
  variables {
    serving_image = "us-central1-docker.pkg.dev/p/r/i"
  }
  expect_failures = [var.serving_image]
}

run "the_zip_must_be_there" {
  command = plan
  variables {
    functions_zip = "missing.zip"
  }
  expect_failures = [var.functions_zip]
}

run "events_are_kept_31_days_at_most" {
  command = plan
  variables {
    retention = { topic_days = 32 }
  }
  expect_failures = [var.retention]
}

run "only_known_events_are_subscribed_to" {
  command = plan
  variables {
    subscriptions = { mine = { types = ["done"] } }
  }
  expect_failures = [var.subscriptions]
}

run "events_are_pushed_over_https" {
  command = plan
  variables {
    subscriptions = { mine = { push_endpoint = "http://example.com" } }
  }
  expect_failures = [var.subscriptions]
}

run "a_budget_is_a_positive_sum" {
  command = plan
  variables {
    budget = { billing_account = "01AB23-45CD67-89EF01", monthly = 0 }
  }
  expect_failures = [var.budget]
}

run "private_endpoints_are_for_somebody" {
  command = plan
  variables {
    private_endpoints = { projects = [], network = "projects/p/global/networks/n", vpc_connector = "c" }
  }
  expect_failures = [var.private_endpoints]
}

run "a_private_network_is_named_in_full" {
  command = plan
  variables {
    private_endpoints = { projects = ["p"], network = "default", vpc_connector = "c" }
  }
  expect_failures = [var.private_endpoints]
}

run "seconds_are_not_negative" {
  command = plan
  variables {
    settings = { poll_seconds = -1 }
  }
  expect_failures = [var.settings]
}

run "deletions_are_not_told_where_there_are_versions" {
  command = plan
  variables {
    bucket   = { versioning = true }
    settings = { retire_on_delete = true }
  }
  expect_failures = [var.settings]
}

run "python_is_new_enough" {
  command = plan
  variables {
    functions = { runtime = "python310" }
  }
  expect_failures = [var.functions]
}
