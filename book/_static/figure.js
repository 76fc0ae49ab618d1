// Brings the figures of a page to life: loads plotly.js once, when the first figure comes near, and
// follows the reader's theme. A classic script, so that it also runs on pages opened from disk.
(() => {
  "use strict";
  const plotlyUrl = new URL("vendor/plotly/plotly.min.js", document.currentScript.src).href;
  const themes = window.rlThemes;
  const mounted = new Set();

  let loading = null;
  const loadPlotly = () => {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = plotlyUrl;
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error(`could not load ${plotlyUrl}`));
      document.head.append(script);
    });
    return loading;
  };

  const themeName = () => (document.documentElement.dataset.theme === "dark" ? "dark" : "light");

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",");

  // Figures arrive in the light theme's colours; colour i has the same job in every theme.
  const recolour = (json, theme) => {
    themes.light.colors.forEach((colour, i) => {
      const other = themes[theme].colors[i];
      json = json.replaceAll(colour, other).replaceAll(`rgba(${rgb(colour)},`, `rgba(${rgb(other)},`);
    });
    return JSON.parse(json);
  };

  // plotly does not break axis titles; a phone shows some 40 characters.
  const breakAxisTitle = (layout) => {
    const title = layout.xaxis?.title;
    if (title?.text?.length > 40) title.text = title.text.replace(/^(.{1,40})[ ]/, "$1<br>");
  };

  const specification = (plot) => {
    const theme = themeName();
    const figure = recolour(plot.rlSource, theme);
    const narrow = plot.clientWidth < 480;
    const template = structuredClone(themes[theme].layout);
    template.margin = { l: narrow ? 44 : 56, r: 12, t: figure.layout.showlegend ? 32 : 8, b: 48 };
    if (narrow) {
      template.font.size = 12;
      breakAxisTitle(figure.layout);
    }
    return {
      data: figure.data,
      layout: { ...figure.layout, template: { layout: template }, autosize: true },
      config: { responsive: true, displayModeBar: false },
    };
  };

  const mount = async (plot) => {
    const source = plot.querySelector('script[type="application/json"]').textContent;
    let Plotly;
    try {
      Plotly = await loadPlotly();
    } catch (error) {
      console.warn(error.message); // the static drawing and the table stay
      return;
    }
    plot.rlSource = source;
    const { data, layout, config } = specification(plot);
    plot.replaceChildren();
    await Plotly.newPlot(plot, data, layout, config);
    mounted.add(plot);
    plot.dataset.ready = "true";
  };

  const plots = document.querySelectorAll(".rl-plot");
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        mount(target);
      }
    },
    { rootMargin: "300px" },
  );
  plots.forEach((plot) => observer.observe(plot));

  new MutationObserver(() => {
    for (const plot of mounted) {
      const { data, layout, config } = specification(plot);
      window.Plotly.react(plot, data, layout, config);
    }
  }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
