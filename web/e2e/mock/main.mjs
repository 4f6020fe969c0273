// npm run mock [-- SCENARIO PORT]: the built pages over made-up data, to look at.
import { admin, startMock } from './server.mjs';

const scenario = /** @type {import('./server.mjs').Scenario} */ (process.argv[2] ?? 'busy');
const { url, token } = await startMock(scenario, Number(process.argv[3] ?? 8080));
console.log(scenario === 'fresh' ? `${url}/setup#token=${token}` : `${url}  user ${admin.name}  password ${admin.password}`);
