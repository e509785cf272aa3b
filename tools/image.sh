#!/usr/bin/env bash
# Build the serving image with Cloud Build and push it where Terraform expects it:
# no Docker on this machine. What is built is the last commit, nothing else.
#
#   make image PROJECT=my-project REGION=us-central1
set -euo pipefail
: "${PROJECT:?say which project: make image PROJECT=my-project REGION=us-central1}"
: "${REGION:?say which region: make image PROJECT=my-project REGION=us-central1}"
say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
command -v gcloud >/dev/null || { printf 'make image needs gcloud on the PATH\n' >&2; exit 2; }

commit=$(git rev-parse --short=12 HEAD)
[ -z "$(git status --porcelain -- serving)" ] || say "serving/ has changes that are not committed: they are not built"
image="$REGION-docker.pkg.dev/$PROJECT/weightdrop-serving/serving"
archive=$(mktemp --suffix=.tgz)
trap 'rm -f "$archive"' EXIT
git archive --format=tar.gz --output="$archive" HEAD serving

say "building $image:$commit (about 20 minutes; vLLM's image is large)"
gcloud builds submit "$archive" \
  --project="$PROJECT" --region="$REGION" \
  --config=tools/cloudbuild.yaml \
  --substitutions="_IMAGE=$image,_TAG=$commit" \
  --service-account="projects/$PROJECT/serviceAccounts/weightdrop-build@$PROJECT.iam.gserviceaccount.com" \
  --gcs-source-staging-dir="gs://$PROJECT-weightdrop-source/image"

say "to pin it, put this into terraform/terraform.tfvars and run make deploy:"
digest=$(gcloud artifacts docker images describe "$image:$commit" --project="$PROJECT" --format='value(image_summary.digest)')
printf 'serving_image = "%s@%s"\n' "$image" "$digest"
