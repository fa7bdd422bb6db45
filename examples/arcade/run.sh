#!/bin/sh
# What `make run` starts: migrate, seed an empty database, serve. Everything it makes is in .data/ beside this file.
set -eu
cd "$(dirname "$0")"
BIN=${BIN:-../../.venv/bin}
PORT=${PORT:-8000}
export BACKSTAY_DATABASE_URL="${BACKSTAY_DATABASE_URL:-sqlite:///.data/arcade.db}"

mkdir -p .data
if [ ! -s .data/secret ]; then
    (umask 077 && "$BIN/python" -c 'import secrets; print(secrets.token_urlsafe(48))' > .data/secret)
fi
BACKSTAY_SECRET=$(cat .data/secret)
export BACKSTAY_SECRET

"$BIN/backstay" db migrate
"$BIN/backstay" db seed --if-empty
api="http://127.0.0.1:$PORT/api/v1"
cat <<END

Try, in another terminal:

  curl '$api/games?limit=3'
  curl '$api/games/astro-blaster/leaderboard?limit=3'
  curl -g '$api/scores?value[gte]=999900&sort=-value&include=player,game&fields=value'
  curl -H 'Authorization: Bearer $("$BIN/backstay" token 7)' \\
       -H 'Content-Type: application/json' -d '{"game_id": 1, "value": 4242}' '$api/scores'

END
exec "$BIN/backstay" serve app.py --port "$PORT"
