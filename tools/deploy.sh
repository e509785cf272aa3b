#!/usr/bin/env bash
# Make or change everything in the cloud, then give Eventarc's subscriptions dead
# letters, which Terraform cannot: Eventarc makes and owns them.
#
#   make deploy PROJECT=my-project REGION=us-central1 [TFARGS="-auto-approve"]
set -euo pipefail
: "${PROJECT:?say which project: make deploy PROJECT=my-project REGION=us-central1}"
: "${REGION:?say which region: make deploy PROJECT=my-project REGION=us-central1}"
say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
need() { command -v "$1" >/dev/null || { printf 'make deploy needs %s on the PATH\n' "$1" >&2; exit 2; }; }
need terraform
need gcloud
read -r -a arguments <<<"${TFARGS:-}"

say "terraform apply in terraform/"
terraform -chdir=terraform init -input=false
terraform -chdir=terraform apply -var "project=$PROJECT" -var "region=$REGION" "${arguments[@]}"

agent="serviceAccount:service-$(gcloud projects describe "$PROJECT" --format='value(projectNumber)')@gcp-sa-pubsub.iam.gserviceaccount.com"
terraform -chdir=terraform output -json triggers | tr -d '[]"' | tr ',' '\n' | while read -r trigger; do
  subscription=$(gcloud eventarc triggers describe "$trigger" --format='value(transport.pubsub.subscription)' </dev/null)
  say "dead letters for ${subscription##*/}"
  gcloud pubsub subscriptions add-iam-policy-binding "$subscription" --quiet \
    --member="$agent" --role=roles/pubsub.subscriber >/dev/null </dev/null
  gcloud pubsub subscriptions update "$subscription" --quiet \
    --dead-letter-topic="projects/$PROJECT/topics/weightdrop-dead-letters" \
    --max-delivery-attempts=100 --message-retention-duration=7d \
    --min-retry-delay=10s --max-retry-delay=600s </dev/null
done

say "what to do next"
terraform -chdir=terraform output
