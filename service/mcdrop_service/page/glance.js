// On a small screen the answer lies below the input: meanwhile, its gist at the foot of the screen.

import { h } from "./dom.js";

/** The gist of what `answer` shows in full; gone while that is in view. */
export function createGlance(answer) {
  const [what, how] = [h("b", {}, "–"), h("span")];
  const element = h("button", { type: "button", class: "glance", onclick: () => {
    answer.scrollIntoView();
  } }, what, how);
  new IntersectionObserver(([entry]) => { element.hidden = entry.isIntersecting; },
    { rootMargin: "0px 0px -30% 0px" }).observe(answer);
  return {
    element,
    show(prediction, doubt) {
      what.textContent = prediction;
      how.textContent = `${doubt} ↓`;
      element.setAttribute("aria-label", `${prediction}, ${doubt}: show the whole answer`);
    },
  };
}
