// The workload on Fastify and pg, as an expert writes it: schemas for input, prepared named statements,
// JSON built by PostgreSQL and sent as it comes, a cache of verified tokens, no log.

import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import pg from 'pg'

const LIMIT_MAX = 100
const TOKENS_MAX = 10_000
const JSON_TYPE = 'application/json; charset=utf-8'

pg.types.setTypeParser(pg.types.builtins.JSON, (text) => text) // sent as it comes, so not parsed
const pool = new pg.Pool({ connectionString: process.env.BENCH_DATABASE, max: 10, idleTimeoutMillis: 0 })

const ONE_GAME =
  'select row_to_json(g) from ' +
  '(select id, slug, name, created_at, updated_at, version from games where id = $1) g'
const CREATE_SCORE =
  'insert into scores (game_id, player_id, value) values ($1, $2, $3) returning row_to_json(scores)'

// The page size is part of the text: as a parameter it would be planned again on each call.
const pageOfGames = perLimit(
  (limit) =>
    "select (select coalesce(json_agg(g), '[]') from (select id, slug, name, created_at, updated_at, version " +
    `from games order by id limit ${limit} offset $1) g), (select count(*)::int from games)`
)
const topScores = perLimit(
  (limit) =>
    "select coalesce(json_agg(r), '[]') from " +
    '(select s.id, s.game_id, s.player_id, s.value, s.created_at, s.updated_at, s.version, p as player ' +
    'from scores s left join lateral (select u.id, u.username from users u where u.id = s.player_id) p on true ' +
    `where s.game_id = $1 order by s.value desc, s.id desc limit ${limit}) r`
)

function perLimit(text) {
  return Array.from({ length: LIMIT_MAX + 1 }, (_, limit) => text(limit))
}

// Reads take turns on a few pipelined connections where that is asked for, else use the pool as writes do.
const pipelined = await Promise.all(
  Array.from({ length: Number(process.env.BENCH_PIPELINED ?? 0) }, async () => {
    const client = new pg.Client({ connectionString: process.env.BENCH_DATABASE, pipeline: true })
    await client.connect()
    return client
  })
)
let turn = 0

function reader() {
  return pipelined.length === 0 ? pool : pipelined[turn++ % pipelined.length]
}

async function row(client, name, text, values) {
  const { rows } = await client.query({ name, text, values, rowMode: 'array' })
  return rows[0]
}

const verify = createVerifier({ key: process.env.BENCH_SECRET, algorithms: ['HS256'], requiredClaims: ['exp', 'sub'] })
const verified = new Map()

// A token is verified once, and its expiry every time.
function userId(header) {
  const known = verified.get(header)
  if (known !== undefined) {
    if (known.exp > Date.now() / 1000) return known.user
    verified.delete(header)
  }
  if (header === undefined || !header.startsWith('Bearer ')) return undefined
  try {
    const { sub, exp } = verify(header.slice(7))
    if (!/^\d{1,15}$/.test(sub)) return undefined
    if (verified.size >= TOKENS_MAX) verified.clear()
    verified.set(header, { user: Number(sub), exp })
    return Number(sub)
  } catch {
    return undefined
  }
}

const id = { type: 'integer', minimum: 1 }
const limit = { type: 'integer', minimum: 1, maximum: LIMIT_MAX, default: 20 }
const page = { type: 'integer', minimum: 1, default: 1 }

const app = Fastify({ logger: false, keepAliveTimeout: 72_000 })

app.get(
  '/api/v1/games/:id',
  { schema: { params: { type: 'object', properties: { id } } } },
  async (request, reply) => {
    const found = await row(reader(), 'game', ONE_GAME, [request.params.id])
    if (found === undefined) return reply.code(404).send({ title: 'Not Found' })
    reply.header('content-type', JSON_TYPE)
    return `{"data":${found[0]}}`
  }
)

app.get(
  '/api/v1/games',
  { schema: { querystring: { type: 'object', properties: { page, limit } } } },
  async (request, reply) => {
    const { page, limit } = request.query
    const [games, total] = await row(reader(), `games${limit}`, pageOfGames[limit], [(page - 1) * limit])
    const pages = Math.ceil(total / limit)
    reply.header('content-type', JSON_TYPE)
    return (
      `{"data":${games},"meta":{"page":${page},"limit":${limit},"total":${total},"pages":${pages},` +
      `"has_next":${page * limit < total},"has_prev":${page > 1}}}`
    )
  }
)

app.get(
  '/api/v1/scores',
  {
    schema: {
      querystring: {
        type: 'object',
        required: ['game_id'],
        properties: { game_id: id, limit, sort: { type: 'string', enum: ['-value'] } }
      }
    }
  },
  async (request, reply) => {
    const { game_id, limit } = request.query
    const [scores] = await row(reader(), `scores${limit}`, topScores[limit], [game_id])
    reply.header('content-type', JSON_TYPE)
    return `{"data":${scores},"meta":{"page":1,"limit":${limit}}}`
  }
)

app.post(
  '/api/v1/scores',
  {
    onRequest: async (request, reply) => {
      request.user = userId(request.headers.authorization)
      if (request.user === undefined) return reply.code(401).send({ title: 'Unauthorized' })
    },
    schema: {
      body: {
        type: 'object',
        required: ['game_id', 'value'],
        properties: { game_id: id, value: { type: 'integer', minimum: 0 } }
      }
    }
  },
  async (request, reply) => {
    const { game_id, value } = request.body
    try {
      const [score] = await row(pool, 'create', CREATE_SCORE, [game_id, request.user, value])
      reply.code(201).header('content-type', JSON_TYPE)
      return `{"data":${score}}`
    } catch (error) {
      if (error.code !== '23503') throw error
      return reply.code(400).send({ title: 'No such game' })
    }
  }
)

app.get('/health/live', async (_request, reply) => {
  reply.header('content-type', JSON_TYPE)
  return '{"status":"ok"}'
})

app.decorateRequest('user', undefined)
await app.listen({ port: Number(process.argv[2]), host: '127.0.0.1' })
