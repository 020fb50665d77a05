#!/usr/bin/env bash
# A bot that answers every message with its text: a shell script around `qpq`, with no other tool than jq.
#
#   export QPQ_HOME=~/bot QPQ_SERVER=127.0.0.1:7000 QPQ_PASSWORD=…
#   qpq register echo
#   examples/echo.sh
#
# The position of the last event that was dealt with is kept in a file, and is moved after the answer is stored: whatever is
# killed when, no message goes without an answer. (One that was answered just before may be answered again: kill -9 between
# the answer and the note of it is the only way.)
set -euo pipefail

state=${QPQ_HOME:?set QPQ_HOME to the profile of the bot}/echo.position
position=$(cat "$state" 2>/dev/null || echo 0)

while true; do
  # One batch of events; the profile is free for the answers as soon as it is read.
  batch=$(qpq --quiet --json recv --after "$position" --timeout "${ECHO_WAIT:-30s}") || true
  while IFS= read -r event; do
    [[ -n $event ]] || continue
    position=$(jq -r .position <<<"$event")
    if jq -e '.type == "message" and (.own | not) and .content.type == "text"' <<<"$event" >/dev/null; then
      # A conversation is named as one types it; the text goes through standard input, whatever is in it.
      jq -j .content.text <<<"$event" | qpq --quiet send "$(jq -r .conversation <<<"$event")" - >/dev/null || true
    fi
    printf '%s\n' "$position" >"$state.new" && mv "$state.new" "$state"
  done <<<"$batch"
  [[ -z ${ECHO_ONCE:-} ]] || exit 0
done
