#!/bin/sh
# A storeCommand for a Secret of Kubernetes. Create it once: kubectl create secret generic bbtoken-ci
# The role needs the verbs get and update for this one Secret (resourceNames).
set -u
name=bbtoken-ci
case $1 in
read)
    found=$(kubectl get secret "$name" --output=jsonpath='{.metadata.resourceVersion}{"\n"}{.data.record}') || exit 1
    printf '%s\n' "$found" | head -n 1
    printf '%s\n' "$found" | tail -n +2 | base64 -d || exit 1
    ;;
replace)
    # The record goes through stdin, because every user can read arguments. The server compares resourceVersion.
    record=$(base64 | tr -d '\n')
    form='{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","resourceVersion":"%s"},"data":{"record":"%s"}}'
    answer=$(printf "$form" "$name" "$2" "$record" |
        kubectl replace --filename=- --validate=false --output=jsonpath='{.metadata.resourceVersion}' 2>&1) || {
        # Only a conflict means that nothing was changed. kubectl exits with 1 for each error.
        case $answer in *'(Conflict)'*) exit 3 ;; esac
        printf '%s\n' "$answer" >&2
        exit 1
    }
    printf '%s\n' "$answer" | tail -n 1
    ;;
*) exit 1 ;;
esac
