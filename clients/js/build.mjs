// Makes from src/ what loads without ES modules, or in one file:
//
//   dist/node.cjs, dist/index.cjs   CommonJS, for Node and for browsers, with their types (.d.cts)
//   dist/postoffice.js              one ES module for a page without a bundler
//
//   node build.mjs [FOLDER]         into FOLDER instead of dist
//
// Each module becomes a function that is called once. The sources keep to the few forms of import and export below;
// any other form, or a circle, ends the build.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const IMPORT = /^import (?:(\w+)|\{([^}]+)\}) from '([^']+)';$/gm;
const EXPORT_FROM = /^export (?:\*|\{([^}]+)\}) from '([^']+)';$/gm;
const EXPORT_DECLARED = /^export (?=(?:async )?(?:function\*?|class|const) (\w+))/gm;
const EXPORT_CONSTS = /^(?:export )const (\w+ = [^;\n]*, \w+ = [^;\n]*);$/gm;
const EXPORT_NAMES = /^export \{([^}]+)\};$/gm;

const names = (list) => list.split(',').map((each) => each.trim()).filter(Boolean);
const variableOf = (file) => file.replace(/\.js$/, '').replace(/\W/g, '_') + '_module';

/** The modules that `entry` needs, each behind those that it imports; texts as functions' bodies. */
function modulesOf(entry) {
  const made = new Map();
  const under = new Set();
  const visit = (file) => {
    if (made.has(file)) return;
    if (under.has(file)) throw new Error(`a circle of imports through ${file}`);
    under.add(file);
    const needs = [];
    const source = readFileSync(join(HERE, 'src', file), 'utf8');
    const module = moduleOf(source, (from) => needs.push(from.slice(2)));
    needs.forEach(visit);
    made.set(file, module);
  };
  visit(entry);
  return made;
}

function moduleOf(source, need) {
  const exported = [];
  const spread = [];
  const take = (from) => {
    if (!from.startsWith('./')) return `require('${from}')`;
    need(from);
    return variableOf(from.slice(2));
  };
  const body = source
    .replace(IMPORT, (_, whole, some, from) => `const ${whole ?? `{ ${some.trim().replace(/,$/, '')} }`} = ${take(from)};`)
    .replace(EXPORT_FROM, (_, some, from) => {
      const variable = take(from);
      if (some) exported.push(...names(some).map((name) => `${name}: ${variable}.${name}`));
      else spread.push(`...${variable}`);
      return '';
    })
    .replace(EXPORT_CONSTS, (_, list) => {
      exported.push(...[...list.matchAll(/(?:^|, )(\w+) = /g)].map(([, name]) => name));
      return `const ${list};`;
    })
    .replace(EXPORT_DECLARED, (_, name) => {
      exported.push(name);
      return '';
    })
    .replace(EXPORT_NAMES, (_, list) => {
      exported.push(...names(list));
      return '';
    })
    .replace(/^import '\.\/(.*)';$/gm, (_, file) => {
      need(`./${file}`);
      return '';
    });
  const left = body.match(/^(?:import|export)\b.*$/m);
  if (left) throw new Error(`a form that build.mjs does not know: ${left[0]}`);
  return { body, exported: [...spread, ...exported] };
}

function bundleOf(entry) {
  const parts = [...modulesOf(entry)].map(([file, { body, exported }]) => (
    `const ${variableOf(file)} = (() => {\n${body.trim()}\n\nreturn { ${exported.join(', ')} };\n})();\n`));
  return `// Made by build.mjs from src/${entry}.\n\n${parts.join('\n')}\n`;
}

/** The names that an entry exports, over its `export *` too. */
function exportsOf(entry) {
  const modules = modulesOf(entry);
  const of = (file) => modules.get(file).exported.flatMap((each) => {
    if (!each.startsWith('...')) return [each.split(':')[0]];
    return of([...modules.keys()].find((name) => variableOf(name) === each.slice(3)));
  });
  return of(entry);
}

function build(folder) {
  mkdirSync(folder, { recursive: true });
  const write = (file, text) => writeFileSync(join(folder, file), text);
  for (const entry of ['index', 'node']) {
    write(`${entry}.cjs`, `'use strict';\n${bundleOf(`${entry}.js`)}module.exports = ${variableOf(entry)};\n`);
    const types = readFileSync(join(HERE, 'src', `${entry}.d.ts`), 'utf8');
    write(`${entry}.d.cts`, types.replaceAll("'./index.js'", "'./index.cjs'"));
  }
  write('postoffice.js', `${bundleOf('index.js')}export const { ${exportsOf('index.js').join(', ')} } = index_module;\n`);
}

build(process.argv[2] ?? join(HERE, 'dist'));
