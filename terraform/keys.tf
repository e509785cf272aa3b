locals {
  # Who encrypts and decrypts what this system keeps.
  key_users = var.kms_key == null ? [] : [
    "aiplatform", "artifactregistry", "eventarc", "firestore", "functions",
    "pubsub", "run", "storage",
  ]
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each = toset(local.key_users)

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${local.agents[each.value]}"

  depends_on = [google_project_service.this]
}
