/**
 * Host of the drawings in Jupyter and Colab: a widget of anywidget. Each value of the drawing's state
 * is a trait of the Python object, in both directions.
 */

export default {
  render({ model, el: root }) {
    root.classList.add("rl-explorer");
    // JupyterLab would take the arrow keys away from the sliders to move between cells.
    root.dataset.lmSuppressShortcuts = "true";
    root.addEventListener("keydown", (event) => {
      if (/^(Arrow|Home|End|Page)/.test(event.key)) event.stopPropagation();
    });
    const names = model.get("names");
    const read = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
    let telling = false; // what the drawing itself has said is no news to it
    const view = render({
      root,
      data: { ...model.get("fixed"), state: read() },
      labels: model.get("labels"),
      language: model.get("language"),
      onChange(state) {
        telling = true;
        for (const name of names) model.set(name, state[name]);
        telling = false;
        model.save_changes();
      },
    });
    const follow = () => {
      if (!telling) view.update(read());
    };
    for (const name of names) model.on(`change:${name}`, follow);
    return () => {
      for (const name of names) model.off(`change:${name}`, follow);
      view.remove();
    };
  },
};
