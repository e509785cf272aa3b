variable "build" {
  description = "The account that builds, the repository built into, the runtime."
  type = object({
    account    = string
    repository = string
    runtime    = string
  })
  nullable = false
}

variable "description" {
  description = "What the function does."
  type        = string
  nullable    = false
}

variable "entry_point" {
  description = "Name of the entry point in main.py."
  type        = string
  nullable    = false
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "ingress" {
  description = "Where calls may come from."
  type        = string
  default     = "ALLOW_INTERNAL_ONLY"
  nullable    = false

  validation {
    condition     = contains(["ALLOW_ALL", "ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB"], var.ingress)
    error_message = "Must be one of Cloud Functions' ingress settings."
  }
}

variable "invokers" {
  description = "IAM members who may invoke the function, by a name that is known before they are made."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = !anytrue([
      for member in values(var.invokers) : contains(["allUsers", "allAuthenticatedUsers"], member)
    ])
    error_message = "No function is open to all."
  }
}

variable "kms_key" {
  description = "Full name of the key that encrypts source and image; null for Google's."
  type        = string
  default     = null
}

variable "labels" {
  description = "Labels."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "name" {
  description = "Name of the function and of its service account."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.name))
    error_message = "Must be 6 to 30 of a-z, 0-9 and '-', for the account bears it."
  }
}

variable "project" {
  description = "Project id."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the function and of its trigger."
  type        = string
  nullable    = false
}

variable "scale" {
  description = "Memory, CPU, seconds of one call, calls at once, instances."
  type = object({
    memory        = string
    cpu           = string
    timeout       = number
    concurrency   = number
    min_instances = number
    max_instances = number
  })
  nullable = false

  validation {
    condition     = var.scale.timeout >= 1 && var.scale.timeout <= 540
    error_message = "A function that events call has 540 seconds at most."
  }
}

variable "source_archive" {
  description = "The object that holds the source."
  type = object({
    bucket = string
    object = string
  })
  nullable = false
}

variable "trigger" {
  description = "The event that calls the function; null for calls over HTTP."
  type = object({
    event_type = string
    filters    = map(string)
    topic      = optional(string)
    account    = string
  })
  default = null
}

variable "vpc_connector" {
  description = "The connector through which private addresses are reached; null for none."
  type        = string
  default     = null
}
