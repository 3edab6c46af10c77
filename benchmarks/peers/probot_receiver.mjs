// A bare Probot app: verifies, parses, answers 202, and keeps nothing. Arguments: PORT SECRET.
import { createServer } from "node:http";
import { createNodeMiddleware, createProbot } from "probot";

const [port, secret] = process.argv.slice(2);
let seen = 0;
const app = (probot) => { probot.on("pull_request.opened", () => { seen += 1; }); };
const probot = createProbot({ overrides: { appId: 1, privateKey: "none", githubToken: "none", secret, logLevel: "fatal" } });
const middleware = await createNodeMiddleware(app, { probot, webhooksPath: "/webhooks/github" });
createServer((request, response) => {
  middleware(request, response, () => { response.writeHead(404); response.end(); });
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
