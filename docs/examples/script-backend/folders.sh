#!/usr/bin/env bash
# A small backend in bash and jq, for the plugin `script`: a resource is a folder below FOLDERS_ROOT.
# The verb comes in BURSAR_VERB as well as in the document. Serves ensure, remove, observe, pause, resume.
set -euo pipefail

root=${FOLDERS_ROOT:?the folder in which the folders are made}
asked=$(cat)
# Named after the number alone: what people type never comes near a path.
id=$(jq -er '.resource.id | select(type == "number") | tostring' <<<"$asked")
folder=$root/r$id

done_() { jq -cn --arg id "r$id" --arg folder "$folder" \
  '{answer: "done", backend_id: $id, access: {Folder: $folder}}'; }
refused() { jq -cn --arg why "$1" '{answer: "refused", why: $why}'; }

case $BURSAR_VERB in
  ensure)
    mkdir -p "$folder"
    # Written beside and moved into place: who is killed midway leaves what was there.
    jq -c '.resource | {name, limits, members: [.members[].username]}' <<<"$asked" >"$folder/.about.new"
    mv "$folder/.about.new" "$folder/about.json"
    done_ ;;
  remove)
    rm -rf -- "$folder"
    jq -cn '{answer: "done"}' ;;
  observe)
    if [ ! -d "$folder" ]; then presence=absent; elif [ -e "$folder/paused" ]; then presence=paused; else presence=ok; fi
    jq -cn --arg presence "$presence" '{presence: $presence}' ;;
  pause)
    if [ -d "$folder" ]; then touch "$folder/paused"; done_; else refused "There is no such folder."; fi ;;
  resume)
    if [ -d "$folder" ]; then rm -f -- "$folder/paused"; done_; else refused "There is no such folder."; fi ;;
  *)
    echo "unknown verb" >&2
    exit 1 ;;
esac
