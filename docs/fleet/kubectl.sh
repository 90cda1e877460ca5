#!/bin/sh
# A storeCommand for a Secret of Kubernetes. Create it once: kubectl create secret generic bbtoken-ci
# The role needs the verbs get and update for this one Secret (resourceNames). No test runs this script.
set -eu
name=bbtoken-ci
case $1 in
read)
    found=$(kubectl get secret "$name" -o json)
    printf '%s' "$found" | jq -r .metadata.resourceVersion
    record=$(printf '%s' "$found" | jq -r '.data.record // empty')
    [ -n "$record" ] || exit 2
    printf '%s' "$record" | base64 -d
    ;;
replace)
    # The server compares resourceVersion, and answers 409 (Conflict) if the Secret has changed.
    kubectl get secret "$name" -o json |
        jq --arg version "$2" --rawfile record /dev/fd/3 '.metadata.resourceVersion = $version | .data.record = ($record | @base64)' 3<&0 |
        kubectl replace -f - -o jsonpath='{.metadata.resourceVersion}' || exit 3
    ;;
esac
