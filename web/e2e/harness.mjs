// The smallest runner that counts.

/** @type {{ passed: number, failed: number }} */
export const counts = { passed: 0, failed: 0 };

/** Whether ONLY leaves a test out. @param {string} name */
export function leftOut(name) {
  const only = process.env.ONLY;
  return only !== undefined && !name.includes(only);
}

/**
 * Runs one test; says whether it passed.
 * @param {string} name @param {() => Promise<void>} run
 */
export async function test(name, run) {
  if (leftOut(name)) return true;
  try {
    await run();
    counts.passed++;
    console.log(`  ok    ${name}`);
    return true;
  } catch (e) {
    counts.failed++;
    console.log(`  FAIL  ${name}\n      ${e instanceof Error ? e.message : String(e)}`);
    return false;
  }
}

/** @param {unknown} ok @param {string} message @returns {asserts ok} */
export function must(ok, message) {
  if (!ok) throw new Error(message);
}

/** Tests of which each needs the one before: after a failure the rest fails at once. */
export function chain() {
  let broken = false;
  return async (/** @type {string} */ name, /** @type {() => Promise<void>} */ run) => {
    const passed = await test(name, async () => {
      must(!broken, 'a step before failed');
      await run();
    });
    broken ||= !passed;
  };
}
