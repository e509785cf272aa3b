variable "alert_emails" {
  description = "Addresses that alerts are sent to."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for one in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", one))
    ])
    error_message = "Each entry must be an e-mail address."
  }
}

variable "alerts" {
  description = <<-EOT
    When alerts are raised: `stuck_seconds` after a deployment entered a phase
    that it has not left (above the longest of the settings' deadlines),
    `replicas` running on all endpoints together (what is running is what is
    paid for), `uptime` whether the status function is asked every five minutes.
  EOT
  type = object({
    stuck_seconds = optional(number, 9000)
    replicas      = optional(number, 4)
    uptime        = optional(bool, true)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alerts.stuck_seconds >= 60 && var.alerts.replicas >= 0
    error_message = "stuck_seconds must be at least 60, replicas not negative."
  }
}

variable "audit_events" {
  description = <<-EOT
    Whether the end of a deployment, as Vertex AI's audit log tells it, has it
    looked at at once. It saves up to a minute; without it, and whenever such an
    event does not come, the next tick looks.
  EOT
  type        = bool
  default     = false
  nullable    = false
}

variable "bucket" {
  description = <<-EOT
    The watched bucket. `name` defaults to PROJECT-weightdrop-models. Deleted
    and overwritten objects can be restored for `soft_delete_days` (0 to 90, 0
    for not at all), and are paid for as long. `versioning` keeps old
    generations beside the new ones for `noncurrent_days`; with it a deletion
    sends no event, and is noticed by the tick. `delete_after_days` removes old
    drops; what was deployed of them stays deployed. `readers` and `writers` are
    IAM members who may read, and drop, models.
  EOT
  type = object({
    name              = optional(string)
    soft_delete_days  = optional(number, 7)
    versioning        = optional(bool, false)
    noncurrent_days   = optional(number, 7)
    delete_after_days = optional(number)
    readers           = optional(list(string), [])
    writers           = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition = (
      var.bucket.name == null ||
      can(regex("^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$", var.bucket.name))
    )
    error_message = "bucket.name must be 3 to 63 of a-z, 0-9, '.', '_' and '-'."
  }
  validation {
    condition = (
      var.bucket.soft_delete_days == 0 || (
        var.bucket.soft_delete_days >= 7 && var.bucket.soft_delete_days <= 90
      )
    )
    error_message = "bucket.soft_delete_days must be 0, or 7 to 90."
  }
  validation {
    condition = (
      var.bucket.noncurrent_days >= 1 &&
      try(var.bucket.delete_after_days >= 1, true)
    )
    error_message = "Days of a lifecycle rule must be at least 1."
  }
  validation {
    condition = alltrue([
      for one in concat(var.bucket.readers, var.bucket.writers) :
      !contains(["allUsers", "allAuthenticatedUsers"], one)
    ])
    error_message = "The watched bucket is never public."
  }
}

variable "budget" {
  description = <<-EOT
    A monthly budget for what carries our label, with alerts at half of it, at
    all of it, and when all of it is forecast. Null for none. Whoever applies
    it needs roles/billing.costsManager on the billing account.
  EOT
  type = object({
    billing_account = string
    monthly         = number
    currency        = optional(string, "USD")
  })
  default = null

  validation {
    condition = var.budget == null || (
      can(regex("^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", var.budget.billing_account)) &&
      try(var.budget.monthly >= 1, false)
    )
    error_message = "billing_account is like 01AB23-45CD67-89EF01, monthly >= 1."
  }
}

variable "database" {
  description = "Id of the Firestore database that holds the records."
  type        = string
  default     = "weightdrop"
  nullable    = false

  validation {
    condition     = can(regex("^(\\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$", var.database))
    error_message = "Must be (default), or 4 to 63 of a-z, 0-9 and '-'."
  }
}

variable "deletion_protection" {
  description = <<-EOT
    Whether what holds data (the watched bucket, the records) refuses to be
    destroyed. To take everything down, apply once with false, then destroy.
  EOT
  type        = bool
  default     = true
  nullable    = false
}

variable "functions" {
  description = "What the four functions run on, and how far they scale."
  type = object({
    runtime       = optional(string, "python312")
    memory        = optional(string, "1Gi")
    max_instances = optional(number, 10)
    min_instances = optional(number, 0)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^python3(1[1-9])$", var.functions.runtime))
    error_message = "The functions need python311 or newer."
  }
  validation {
    condition     = can(regex("^[0-9]+(Mi|Gi|M|G)$", var.functions.memory))
    error_message = "memory is like 512Mi or 1Gi."
  }
  validation {
    condition = (
      var.functions.max_instances >= 1 && var.functions.min_instances >= 0 &&
      var.functions.max_instances >= var.functions.min_instances
    )
    error_message = "max_instances must be at least 1 and min_instances."
  }
}

variable "functions_zip" {
  description = "The functions' source, as `make functions-zip` writes it."
  type        = string
  default     = "../build/functions.zip"
  nullable    = false

  validation {
    condition     = fileexists(var.functions_zip)
    error_message = "There is no such file: run `make functions-zip` first."
  }
}

variable "kms_key" {
  description = <<-EOT
    Full name of a Cloud KMS key in the region that encrypts everything that is
    kept: bucket, records, topics, images, functions, models and endpoints. Null
    for Google's keys. See README.md for what must exist before.
  EOT
  type        = string
  default     = null

  validation {
    condition = var.kms_key == null || can(regex(
      "^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key
    ))
    error_message = "Must be projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "labels" {
  description = "Labels of everything that can carry labels, beside our own."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for key, value in var.labels :
      can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "Keys and values are lower-case letters, digits, '_' and '-'."
  }
}

variable "private_endpoints" {
  description = <<-EOT
    Private endpoints: `projects` may connect to every endpoint over Private
    Service Connect, and there is no public name. Vertex AI makes an address for
    each endpoint in `network`, where the functions, which ask each new
    deployment one prompt, reach it through `vpc_connector`. Null for endpoints
    with a public, authenticated name. See README.md for what must exist before.
  EOT
  type = object({
    projects      = list(string)
    network       = string
    vpc_connector = string
  })
  default = null

  validation {
    condition     = var.private_endpoints == null || try(length(var.private_endpoints.projects) > 0, false)
    error_message = "private_endpoints.projects must name at least one project."
  }
  validation {
    condition = var.private_endpoints == null || can(regex(
      "^projects/[^/]+/global/networks/[^/]+$", var.private_endpoints.network
    ))
    error_message = "private_endpoints.network must be projects/P/global/networks/N."
  }
}

variable "project" {
  description = "Id of the project that everything is made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "Must be a project id, not a number or a name."
  }
}

variable "region" {
  description = "Region of everything, and of deployments that name no other."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Must be a region like us-central1, not a zone or a multi-region."
  }
}

variable "retention" {
  description = <<-EOT
    How long messages are kept: on the topics for whoever subscribes later, in
    the dead letters for whoever looks at them. Days, 1 to 31.
  EOT
  type = object({
    topic_days       = optional(number, 7)
    dead_letter_days = optional(number, 31)
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for days in values(var.retention) : days >= 1 && days <= 31
    ])
    error_message = "Days must be 1 to 31, the bounds of Pub/Sub."
  }
}

variable "serving_image" {
  description = <<-EOT
    The image that serves models; pin it by digest in production. Defaults to
    what `make image` pushes.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.serving_image == null || can(regex("^[a-z0-9.-]+/.+[:@].+$", var.serving_image))
    error_message = "Must be an image with its registry, and a tag or a digest."
  }
}

variable "settings" {
  description = <<-EOT
    How the functions decide: seconds a changed folder must be quiet, an
    incomplete one may stay so, a deployment, the first answer and any other
    operation may take, a crashed function keeps others from its record, and a
    tick leaves an operation alone, and between two uploads or deployments of the
    project; which regions to try when a first revision finds no machine in the
    functions' own; whether to undeploy when a drop's config.json is deleted; and
    whether architectures outside the catalogue are refused.
  EOT
  type = object({
    settle_seconds    = optional(number, 10)
    waiting_seconds   = optional(number, 86400)
    deploy_seconds    = optional(number, 7200)
    verify_seconds    = optional(number, 600)
    operation_seconds = optional(number, 3600)
    lease_seconds     = optional(number, 120)
    poll_seconds      = optional(number, 20)
    pace_seconds      = optional(number, 2)
    fallback_regions  = optional(list(string), [])
    retire_on_delete  = optional(bool, false)
    strict            = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for name, value in var.settings : try(value >= 0, true) if endswith(name, "_seconds")
    ])
    error_message = "Seconds must not be negative."
  }
  validation {
    condition     = !(var.settings.retire_on_delete && var.bucket.versioning)
    error_message = "A bucket with versions tells of no deletion: retire_on_delete needs bucket.versioning = false."
  }
}

variable "status_invokers" {
  description = <<-EOT
    IAM members who may call the status function, which shows all deployments
    and takes orders: user:…, group:…, serviceAccount:…, domain:…
  EOT
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for one in var.status_invokers :
      can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+$", one))
    ])
    error_message = "Members only: the status function is never open to all."
  }
}

variable "subscriptions" {
  description = <<-EOT
    Subscriptions of the completion events, by name: pulled from, or pushed to
    `push_endpoint` with a token of `push_account` if given; `types` keeps only
    these, like ["ready", "failed"]. Undeliverable events go to the dead letters
    after `attempts`.
  EOT
  type = map(object({
    types         = optional(list(string), [])
    push_endpoint = optional(string)
    push_account  = optional(string)
    attempts      = optional(number, 10)
  }))
  default  = { inbox = {} }
  nullable = false

  validation {
    condition = alltrue([
      for name, one in var.subscriptions :
      can(regex("^[a-z][a-z0-9-]{0,60}$", name)) &&
      one.attempts >= 5 && one.attempts <= 100 &&
      (one.push_endpoint == null || can(regex("^https://", one.push_endpoint)))
    ])
    error_message = "Names are a-z, 0-9 and '-'; attempts 5 to 100; push over https."
  }
  validation {
    condition = alltrue(flatten([
      for one in var.subscriptions : [
        for type in one.types : contains([
          "waiting", "rejected", "accepted", "progress", "ready", "failed",
          "superseded", "retired",
        ], type)
      ]
    ]))
    error_message = "types are words of the events' types: see docs."
  }
}

variable "telemetry" {
  description = <<-EOT
    Where the functions send OpenTelemetry's traces and metrics: "google" for
    Cloud Trace and Cloud Monitoring, the https:// base URL of an OTLP/HTTP
    collector, or "" for nowhere.
  EOT
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(|google|https?://.+)$", var.telemetry))
    error_message = "telemetry is \"\", \"google\" or a URL."
  }
}

variable "weights" {
  description = <<-EOT
    Where replicas read the weights: "copy" is the copy of the folder that Vertex
    AI makes of each model, "direct" the watched bucket itself, at the generations
    that were validated. Direct reads need the bucket to keep what is replaced:
    set bucket.versioning.
  EOT
  type        = string
  default     = "copy"
  nullable    = false

  validation {
    condition     = contains(["copy", "direct"], var.weights)
    error_message = "weights is \"copy\" or \"direct\"."
  }
}
