// The members of an object that are there: neither null nor undefined.

export const present = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined));
