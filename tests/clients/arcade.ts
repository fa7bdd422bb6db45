// A typed client of the arcade, over what openapi-typescript makes of its contract. It is compiled, and it is run:
// `node arcade.ts URL TOKEN` prints what it did. Each `@ts-expect-error` fails the compilation where there is no error.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Game = components["schemas"]["Game"];
type Problem = components["schemas"]["Problem"];
type Score = components["schemas"]["Score"];

const client = createClient<paths>({ baseUrl: process.argv[2] ?? "http://127.0.0.1:8000" });
const headers = { Authorization: `Bearer ${process.argv[3] ?? ""}` };

declare const process: { argv: string[] };

function refusal(problem: Problem): Error {
  const fields = problem.errors.map((error) => `${error.field} ${error.code}`);
  return new Error([problem.code, ...fields].join(" "));
}

async function list(): Promise<Game[]> {
  const query = { "name[ilike]": "astro%", sort: "-name", limit: 5 };
  const { data, error } = await client.GET("/api/v1/games", { params: { query: { ...query, include: ["scores"] } } });
  if (error) throw refusal(error);
  const total: number | undefined = "total" in data.meta ? data.meta.total : undefined;
  const first = data.data[0];
  // An optional member: it is there when `include` names it.
  const owners: (number | undefined)[] = (first?.scores ?? []).map((score) => score.player_id);
  // @ts-expect-error a field that no game has
  first?.nmae;
  // @ts-expect-error a number is no text
  const slug: number | undefined = first?.slug;
  void [total, owners, slug];
  return data.data;
}

async function item(slug: string): Promise<Game> {
  const { data, error, response } = await client.GET("/api/v1/games/{key}", { params: { path: { key: slug } } });
  if (error) throw refusal(error);
  void response.headers.get("ETag");
  return data.data;
}

async function create(game: number, value: number): Promise<Score> {
  const { data, error } = await client.POST("/api/v1/scores", { headers, body: { game_id: game, value } });
  if (error) throw refusal(error);
  // @ts-expect-error an answer is one row, or those of a list
  data.meta;
  if ("meta" in data) throw new Error(`${data.meta.count} rows of one`);
  return data.data;
}

export async function several(...scores: components["schemas"]["ScoreCreate"][]): Promise<Score[]> {
  const { data, error } = await client.POST("/api/v1/scores", { headers, body: scores });
  if (error) throw refusal(error);
  return "meta" in data ? data.data : [data.data];
}

export async function tidy(slug: string, wrong: number): Promise<Score[]> {
  const scores = [{ value: 3 }, { id: wrong, _delete: true }] as const;
  // @ts-expect-error a new score has a value
  const none: components["schemas"]["GameUpdate"] = { scores: [{}] };
  void none;
  const params = { path: { key: slug } };
  const { data, error } = await client.PATCH("/api/v1/games/{key}", { headers, params, body: { scores: [...scores] } });
  if (error) throw refusal(error);
  return data.data.scores ?? [];
}

async function mine(key: number | string, player: string): Promise<number | undefined> {
  const { data } = await client.GET("/api/v1/scores", { params: { query: { "id[gte]": key, player_id: player } } });
  return data?.data.length;
}

export async function mistakes(): Promise<void> {
  // @ts-expect-error no such path
  await client.GET("/api/v1/gmaes");
  // @ts-expect-error no such parameter
  await client.GET("/api/v1/games", { params: { query: { nmae: "x" } } });
  // @ts-expect-error a limit is a number
  await client.GET("/api/v1/games", { params: { query: { limit: "five" } } });
  // @ts-expect-error no such relation
  await client.GET("/api/v1/games", { params: { query: { include: ["scroes"] } } });
  // @ts-expect-error an item has a key
  await client.GET("/api/v1/games/{key}", {});
  // @ts-expect-error the value is missing
  await client.POST("/api/v1/scores", { body: { game_id: 1 } });
  // @ts-expect-error the server sets the player
  const body: components["schemas"]["ScoreCreate"] = { game_id: 1, value: 1, player_id: 2 };
  // @ts-expect-error scores are not updated
  await client.PATCH("/api/v1/scores/{key}", { params: { path: { key: 1 } }, body: {} });
  const { error } = await client.POST("/api/v1/scores", { body });
  // @ts-expect-error there is no such code
  if (error?.code === "VALIDATION_EROR") return;
}

declare const console: { log(...values: unknown[]): void };

if (process.argv[2]) {
  const games = await list();
  const game = await item(games[0]?.slug ?? "");
  const score = await create(game.id ?? 0, 7);
  const refused = await create(game.id ?? 0, -7).catch((error: unknown) => String(error));
  const missing = await item("no-such-game").catch((error: unknown) => String(error));
  const found = await mine(score.id ?? 0, String(score.player_id));
  console.log(JSON.stringify({ games: games.length, slug: game.slug, value: score.value, found, refused, missing }));
}
