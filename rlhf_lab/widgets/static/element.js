/**
 * Host of the drawings on a page of the book: <rlhf-explorer component="ppo-clip">.
 *
 * The element comes with a still drawing and, in a JSON block, with {data, labels, language}. When it
 * is about to scroll into view, the drawing's module is fetched and takes the still one's place; and
 * so is the file that `src` names, with the larger part of the data.
 */

class Explorer extends HTMLElement {
  #observer = null;
  #view = null;

  connectedCallback() {
    if (this.#view) return;
    this.#observer = new IntersectionObserver(
      ([entry]) => {
        if (!entry.isIntersecting) return;
        this.#observer.disconnect();
        this.#draw();
      },
      { rootMargin: "300px" },
    );
    this.#observer.observe(this);
  }

  disconnectedCallback() {
    this.#observer?.disconnect();
  }

  async #draw() {
    const given = JSON.parse(this.querySelector('script[type="application/json"]').textContent);
    const source = this.getAttribute("src");
    let module;
    try {
      const asked = [import(`./${this.getAttribute("component")}.js`), source && fetchJson(source)];
      const [found, more] = await Promise.all(asked);
      module = found;
      given.data = { ...more, ...given.data };
    } catch (error) {
      console.warn(error.message); // the still drawing and its data stay
      this.querySelector(".rl-unseen").hidden = false;
      return;
    }
    this.#view = module.render({ root: this, ...given, onChange: () => {} });
    this.dataset.ready = "true";
  }
}

async function fetchJson(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return response.json();
}

customElements.define("rlhf-explorer", Explorer);
