// What a page tells: the network came or went, the page is seen again after its timers slept.

/** calls: {back(): connect at once; doubt(): look whether the link lives}. Returns a function that stops listening. */
export function watchPage({ back, doubt }) {
  if (typeof document === 'undefined' || !globalThis.addEventListener) return () => {};
  const seen = () => {
    if (document.visibilityState !== 'visible') return;
    back();
    doubt();
  };
  const listeners = [[globalThis, 'online', back], [globalThis, 'online', doubt], [globalThis, 'offline', doubt], [globalThis, 'pageshow', seen],
    [document, 'visibilitychange', seen], [document, 'resume', seen]];
  for (const [target, name, listener] of listeners) target.addEventListener(name, listener);
  return () => listeners.forEach(([target, name, listener]) => target.removeEventListener(name, listener));
}
