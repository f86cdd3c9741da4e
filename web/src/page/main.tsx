/** Starts the page in the browser's language. */

import { render } from "preact";
import { App } from "./app";
import { TextsContext } from "./hooks";
import "./styles/base.css";
import "./styles/login.css";
import "./styles/list.css";
import "./styles/conversation.css";
import "./styles/message.css";
import { textsFor } from "./texts";

const texts = textsFor(navigator.language);
const root = document.getElementById("app");
document.documentElement.lang = texts.locale === "zh" ? "zh-CN" : "en";
if (root !== null) {
  render(
    <TextsContext.Provider value={texts}>
      <App />
    </TextsContext.Provider>,
    root,
  );
}
