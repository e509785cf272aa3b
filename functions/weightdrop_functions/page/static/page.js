// Two conveniences; the page is whole without them: buttons that copy, and a
// page that shows a change soon after it happened.
"use strict";

const LOOK_MILLISECONDS = 4000;
const told = document.getElementById("told");

function tell(text) {
  told.textContent = text;
  setTimeout(() => { told.textContent = ""; }, 4000);
}

function addCopyButtons(place) {
  for (const figure of place.querySelectorAll(".copyable")) {
    const button = document.createElement("button");
    const name = figure.querySelector("figcaption").textContent;
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${name}`);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(figure.querySelector("code").textContent);
        tell("Copied");
      } catch {
        tell("The browser did not allow it: select the text and copy it");
      }
    });
    figure.append(button);
  }
}

// What has the focus and what is open is found again by what it is called.
function keeping(main, change) {
  const called = (one) => `${one.tagName} ${one.getAttribute("href")} ${one.getAttribute("aria-label")} ${one.id} ${one.textContent}`;
  const held = main.contains(document.activeElement) && called(document.activeElement);
  const open = [...main.querySelectorAll("details[open]")].map((one) => one.id);
  change();
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (!held) return;
  const focusable = main.querySelectorAll("a, button, input, select, summary, [tabindex]");
  const again = [...focusable].find((one) => called(one) === held);
  (again ?? main).focus({ preventScroll: true });
}

async function show(main) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const next = fresh.getElementById("main");
  const before = main.querySelector(".state .phase")?.textContent;
  keeping(main, () => {
    main.replaceChildren(...next.childNodes);
    main.dataset.updated = next.dataset.updated;
    addCopyButtons(main);
  });
  const after = main.querySelector(".state .phase")?.textContent;
  if (before !== after) tell(`Now ${after}`);
}

async function look(main) {
  const answer = await fetch(main.dataset.watch, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const body = await answer.json();
  const one = body.deployments ? body.deployments[0] : body;
  if ((one?.updated ?? "") !== main.dataset.updated) await show(main);
}

const main = document.getElementById("main");
addCopyButtons(main);
if (main.dataset.watch) {
  const again = async () => {
    try {
      if (document.visibilityState === "visible") await look(main);
    } catch {
      // The server is away for a moment: the next look may find it.
    }
    setTimeout(again, LOOK_MILLISECONDS);
  };
  setTimeout(again, LOOK_MILLISECONDS);
}
