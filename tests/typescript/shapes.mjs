// Whether a value is what a type of the client says, by the description that generate.py makes of both.
import {readFileSync} from 'node:fs';

export const shapes = JSON.parse(readFileSync(new URL('../../clients/typescript/src/generated/shapes.json', import.meta.url)));

const PRIMITIVES = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
  Uint8Array: (value) => value instanceof Uint8Array,
  '`${number}x${number}`': (value) => /^\d+x\d+$/.test(value),
  '`${number}`': (value) => typeof value === 'string' && value !== '' && Number.isFinite(Number(value)),
};

/** A type's own fields and those of the type that it extends. */
export function fieldsOf(name) {
  const {extends: base, fields} = shapes[name];
  return {...(base && fieldsOf(base)), ...fields};
}

/** What is wrong with the value, by path; nothing where it is of the type. */
export function faults(value, type, path = type) {
  if (type.includes(' | ')) {
    return type.split(' | ').some((each) => faults(value, each, path).length === 0) ? [] : [`${path}: is not ${type}`];
  }
  if (type.endsWith('[]')) {
    if (!Array.isArray(value)) return [`${path}: is no list`];
    return value.flatMap((each, index) => faults(each, type.slice(0, -2), `${path}[${index}]`));
  }
  if (type.startsWith("'")) return `'${value}'` === type ? [] : [`${path}: is not ${type}`];
  if (type in PRIMITIVES) return PRIMITIVES[type](value) ? [] : [`${path}: is not ${type}, but ${value}`];
  if (shapes[type].values) return shapes[type].values.includes(value) ? [] : [`${path}: ${value} is none of ${type}`];
  if (typeof value !== 'object' || value === null) return [`${path}: is no object`];
  const fields = fieldsOf(type);
  const unknown = Object.keys(value).filter((name) => !(name in fields)).map((name) => `${path}.${name}: is not in the type`);
  return Object.entries(fields).reduce((found, [name, {type: kind, optional}]) => {
    if (name in value) return [...found, ...faults(value[name], kind, `${path}.${name}`)];
    return optional ? found : [...found, `${path}.${name}: is missing`];
  }, unknown);
}
