// The audit log: request it and download it.

import { useState } from "./hooks.js";
import { Button, Field, Form, Outcome, useSending, Wrong } from "./form.js";
import { html, Panel, plural, save } from "./html.js";

const LONG_MS = 600_000; // a long log is written while the same request is retried

/** `path` is where the dump is requested; `all` says that it is the log of all users. */
export function Dump({ api, path, all = false, done }) {
  const [filename, setFilename] = useState(all ? "all.xml" : "log.xml");
  const [written, setWritten] = useState(null);
  const sending = useSending();
  const fetching = useSending();
  const dump = () =>
    sending.submit(["dumplog", path, filename], async ({ key, waiting }) => {
      if (filename.trim() === "") throw new Wrong("filename", "Enter a file name, such as log.xml.");
      setWritten(null);
      const name = filename.trim();
      const answer = await api.post(path, { filename: name }, { key: key(), waiting, patienceMs: LONG_MS });
      setWritten({ ...answer, name: name.replace(/^\.\//, "") });
      done?.();
      return `Written: ${plural(answer.events, "event")}.`;
    });
  const download = () =>
    fetching.submit("download", async () => {
      save(written.name, await api.text(`${path}?filename=${encodeURIComponent(written.name)}`), "application/xml");
    });
  return html`<${Panel} id="dump" title=${all ? "Audit log of all users" : "Audit log"}>
    <${Form} onSubmit=${dump} label="Dump the log">
      <div class="row">
        <${Field} label="File name" name="filename" value=${filename} onInput=${setFilename} sending=${sending} />
        <${Button} sending=${sending}>Dump ${all ? "all" : "log"}<//>
      </div>
    <//>
    <${Outcome} sending=${sending} fields=${["filename"]} />
    ${written !== null &&
    html`<div class="written">
      <code>${written.location}</code>
      ${written.url === undefined
        ? html`<${Button} sending=${fetching} kind="small" onClick=${download}>Download<//>`
        : html`<a class="button small" href=${written.url} download=${written.name} rel="noreferrer">Download</a>`}
    </div>`}
    <${Outcome} sending=${fetching} />
  <//>`;
}
