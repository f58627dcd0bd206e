// Forms: an error is shown beside its field, and a form is sent only once.

import { newKey } from "./api.js";
import { useEffect, useId, useRef, useState } from "./hooks.js";
import { html } from "./html.js";
import { inWords } from "./problems.js";

/** An error that the page itself finds; `field` says where. */
export class Wrong extends Error {
  constructor(field, text) {
    super(text);
    this.field = field;
  }
}

/** Something unusual that the user must confirm; sending the same again confirms it. */
class Ask extends Error {}

const IDLE = { busy: false, wrong: null, outcome: "", waiting: "", asks: null, giveUp: null };

/**
 * One request at a time.
 *
 * `send({key, waiting, signal, sure})` sends it, with a key that stays the same while `what` does and its outcome is
 * unknown, so that a retry cannot execute it twice. Its result is shown as the outcome. `sure(text)` asks the user to
 * confirm, unless `text` is null or was confirmed before; `canGiveUp` is for requests that change nothing.
 */
export function useSending({ canGiveUp = false } = {}) {
  const [state, setState] = useState(IDLE);
  const sending = useRef(false);
  const open = useRef(null);
  const asked = useRef(null);

  async function submit(what, send) {
    if (sending.current) return; // the second click of a double click
    sending.current = true;
    const named = JSON.stringify(what);
    if (open.current?.named !== named) open.current = { named, keys: new Map() };
    const { keys } = open.current;
    const key = (name = "") => keys.get(name) ?? keys.set(name, newKey()).get(name);
    const sure = (text) => {
      if (text === null || asked.current === `${named} ${text}`) return;
      asked.current = `${named} ${text}`;
      throw new Ask(text);
    };
    const abort = new AbortController();
    const giveUp = canGiveUp ? () => abort.abort() : null;
    setState({ ...IDLE, busy: true });
    try {
      const waiting = (text) => setState((now) => ({ ...now, waiting: text, giveUp }));
      const outcome = await send({ key, waiting, signal: canGiveUp ? abort.signal : undefined, sure });
      open.current = null;
      asked.current = null;
      setState({ ...IDLE, outcome: outcome ?? "" });
      return true;
    } catch (error) {
      if (error instanceof Ask) {
        setState({ ...IDLE, asks: error.message });
        return false;
      }
      if (!error.uncertain) open.current = null;
      const wrong = error instanceof Wrong ? { field: error.field, text: error.message } : inWords(error);
      setState({ ...IDLE, wrong });
      return false;
    } finally {
      sending.current = false;
    }
  }

  /** The user declined, or has edited the form. */
  function withdraw() {
    asked.current = null;
    setState((now) => (now.asks === null ? now : IDLE));
  }

  return { ...state, submit, withdraw };
}

/** The confirmation before something unusual is sent, inside the form that sends it. */
export function Sure({ sending, yes }) {
  const place = useRef(null);
  useEffect(() => {
    if (sending.asks !== null) place.current.focus();
  }, [sending.asks]);
  if (sending.asks === null) return null;
  const no = (event) => {
    const form = event.currentTarget.form;
    sending.withdraw();
    form.querySelector("input[type=text]").focus();
  };
  return html`<div class="sure" role="group" aria-label="Are you sure?" tabindex="-1" ref=${place}>
    <p role="alert">${sending.asks}</p>
    <${Button} kind="small primary">${yes}<//>
    <button type="button" class="button small" onClick=${no}>No, change it</button>
  </div>`;
}

/** A form; `onSubmit` is called without arguments, for a click as for Enter. */
export function Form({ onSubmit, label, children, class: name = "form" }) {
  const submitted = (event) => {
    event.preventDefault();
    onSubmit();
  };
  return html`<form class=${name} aria-label=${label} onSubmit=${submitted} onKeyDown=${noRepetition} novalidate>
    ${children}
  </form>`;
}

function noRepetition(event) {
  if (event.repeat && event.key === "Enter") event.preventDefault();
}

/** A labelled text field, with a hint and its error. */
export function Field({ label, name, value, onInput, onChange, sending, hint, unit, mode = "text", class: given = "" }) {
  const id = useId();
  const wrong = sending?.wrong?.field === name ? sending.wrong.text : null;
  const described = [wrong && `${id}-wrong`, hint && `${id}-hint`].filter(Boolean).join(" ") || undefined;
  return html`<div class=${`field ${given} ${wrong ? "is-wrong" : ""}`}>
    <label for=${id}>${label}</label>
    <div class="box">
      ${unit && html`<span class="unit" aria-hidden="true">${unit}</span>`}
      <input
        id=${id}
        name=${name}
        type="text"
        inputmode=${mode}
        autocomplete="off"
        autocapitalize=${name === "symbol" ? "characters" : "off"}
        spellcheck=${false}
        maxlength=${name === "token" ? 8192 : name === "filename" ? 200 : 64}
        value=${value}
        aria-invalid=${wrong ? "true" : undefined}
        aria-describedby=${described}
        onInput=${(event) => onInput(event.currentTarget.value)}
        onChange=${onChange}
      />
    </div>
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${wrong && html`<p class="wrong" id=${`${id}-wrong`} role="alert">${wrong}</p>`}
  </div>`;
}

/** A choice between two options or more. */
export function Choice({ label, name, options, value, onChoose }) {
  return html`<fieldset class="choice">
    <legend class="unseen">${label}</legend>
    ${options.map(
      ([option, text]) =>
        html`<label class=${`option ${option} ${option === value ? "is-chosen" : ""}`} key=${option}>
          <input type="radio" name=${name} checked=${option === value} onChange=${() => onChoose(option)} />
          <span>${text}</span>
        </label>`,
    )}
  </fieldset>`;
}

/**
 * A button that stays in place, and keeps the focus, while it is busy. The second click of a double click, and the
 * repeats of a key held down, do nothing, even if the first request is done already.
 */
export function Button({ sending, children, onClick, kind = "", label, type = onClick ? "button" : "submit" }) {
  const busy = Boolean(sending?.busy);
  const clicked = (event) => {
    if (event.detail > 1) event.preventDefault();
    else onClick?.(event);
  };
  return html`<button
    type=${type}
    class=${`button ${kind}`}
    aria-disabled=${busy ? "true" : undefined}
    aria-busy=${busy ? "true" : undefined}
    aria-label=${label}
    onClick=${clicked}
    onKeyDown=${noRepetition}
  >
    ${children}
  </button>`;
}

/** The outcome, and an error that belongs to no field; `quiet`: for screen readers only, as it is shown elsewhere. */
export function Outcome({ sending, fields = [], quiet = false }) {
  const elsewhere = sending.wrong !== null && !fields.includes(sending.wrong.field);
  return html`<div class="outcome">
    <p role="status">
      ${sending.waiting !== "" && html`<span class="waiting">${sending.waiting}</span>`}
      ${sending.outcome !== "" && html`<span class=${quiet ? "unseen" : "done"}>${sending.outcome}</span>`}
    </p>
    ${sending.giveUp && html`<button type="button" class="button small" onClick=${sending.giveUp}>Give up</button>`}
    ${elsewhere && html`<p class="wrong" role="alert">${sending.wrong.text}</p>`}
  </div>`;
}
