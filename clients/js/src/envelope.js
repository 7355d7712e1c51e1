// What an application gives to send() becomes the envelope of docs/protocol.md section 2.

import { bytesOf, toBase64, utf8 } from './base64.js';
import { newId } from './ids.js';
import { present } from './present.js';

export const MAIL = 1, SIGNAL = 2, POST = 3, CONTROL = 4;
export const POSTMASTER = 'postmaster';
const JSON_TYPE = 3, FILE_TYPE = 7;
const RECEIPTS = { delivered: 2, read: 3 };

/** The envelope of a message of the application. The field `from` may be absent: the session fills it in. */
export function toEnvelope(message, type) {
  const { to, cc, text, json, content, bytes, files, expiresAt, receipt, id, ...rest } = message;
  return present({
    subject: '', ...rest, to: addresses(to, 'to'), cc: cc?.length ? addresses(cc, 'cc') : undefined, type, id: id ?? newId(),
    ...contentOf(text, json, content ?? bytes, rest),
    attachments: files ? [...(rest.attachments ?? []), ...files.map(attachmentOf)] : rest.attachments,
    expiresAt: expiresAt instanceof Date ? Math.floor(expiresAt / 1000) : expiresAt,
    receipt: RECEIPTS[receipt] ?? receipt,
  });
}

/** A command to the server (section 4), or a receipt of a reader. */
export function toCommand(subject, fields) {
  return present({ to: [POSTMASTER], type: CONTROL, id: newId(), subject, ...fields });
}

/** Everybody to whom an envelope goes. */
export function recipientsOf(envelope) {
  return envelope.cc ? [...envelope.to, ...envelope.cc] : envelope.to;
}

function addresses(given, field) {
  const list = [given].flat();
  if (!list.length || list.some((each) => typeof each !== 'string')) throw new TypeError(`${field} must have addresses`);
  return list;
}

function contentOf(text, json, bytes, { charset, contentType }) {
  if (json !== undefined) return { content: toBase64(utf8(JSON.stringify(json))), contentType: contentType ?? JSON_TYPE };
  if (bytes !== undefined) return { content: toBase64(bytesOf(bytes)), contentType: contentType ?? FILE_TYPE };
  if (text !== undefined && charset && !/^utf-?8$/i.test(charset))
    throw new TypeError('text is UTF-8');
  return { content: toBase64(utf8(text ?? '')), contentType: contentType ?? (text === undefined ? undefined : 0) };
}

function attachmentOf({ name, type, bytes }) {
  const data = bytesOf(bytes);
  return { name, contentType: type || 'application/octet-stream', size: data.length, content: toBase64(data) };
}
