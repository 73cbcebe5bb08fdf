// Networks in words: a node as the tables write it and as Python has it, shapes and amounts as the drawings print them, and the whole of what
// `inceptions describe NAME --json` says. The counterparts are inceptions/networks/describe.py and drawing/labels.py.
"use strict";

const words = (() => {
  const { isChain, pair, grid } = arithmetic;
  const ACTIVATIONS = { relu: "ReLU", elu: "ELU", sigmoid: "sigmoid" };
  const WIDTH = 68; // letters of a line of code
  const alike = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const short = (number) => String(Number(number.toPrecision(6)));

  // ---- as the tables write it

  /** A node as a line: `64 | 48→64(5x5) | 64→96(3x3)→96(3x3) | avg(3x3)→32`. */
  function label(node) {
    if (isChain(node)) return repeated(node).join("→") || "identity";
    return LABELS[node.type](node);
  }

  const inner = (node) => (node.type === "Parallel" ? `{${label(node)}}` : label(node));

  const LABELS = {
    Parallel: (node) => Object.values(node.branches).map(inner).join(" | "),
    Residual: (node) => {
      const shortcut = alike(node.shortcut, []) ? "x" : label(node.shortcut);
      const scale = node.scale === 1 ? "" : `${short(node.scale)}·`;
      return `${shortcut} + ${scale}(${label(node.body)})${node.activation ? `→${ACTIVATIONS[node.activation]}` : ""}`;
    },
    Conv: (node) => `${node.channels}${windowOf(node)}${node.activation ? "" : " linear"}`,
    SeparableConv: (node) => `sep ${node.channels}${windowOf(node)}`,
    Linear: (node) => `linear ${node.channels}`,
    MaxPool: (node) => `max${windowOf(node)}`,
    AvgPool: (node) => `avg${windowOf(node)}`,
    AdaptiveAvgPool: (node) => (node.grid === 1 ? "avg" : `avg to ${node.grid}x${node.grid}`),
    LocalResponseNorm: (node) => `LRN(${node.size})`,
    BatchNorm: (node) => (node.activation === null ? "BN" : `BN→${ACTIVATIONS[node.activation]}`),
    Activation: (node) => ACTIVATIONS[node.kind],
    Dropout: (node) => `dropout ${short(node.rate)}`,
    L2Normalize: () => "L2",
  };

  function repeated(chain) {
    const out = [];
    for (let index = 0, times; index < chain.length; index += times) {
      times = 1;
      while (index + times < chain.length && alike(chain[index + times], chain[index])) times += 1;
      const text = inner(chain[index]);
      const isPlain = ["Conv", "SeparableConv", "MaxPool"].includes(chain[index].type);
      out.push(...(times > 1 && !isPlain ? [`${times} x [${text}]`] : Array(times).fill(text)));
    }
    return out;
  }

  function windowOf(node) {
    const [height, width] = pair(node.kernel);
    const stride = node.stride > 1 ? `/${node.stride}` : "";
    const rate = (node.dilation ?? 1) > 1 ? ` rate ${node.dilation}` : "";
    const valid = node.padding === "valid" && Math.max(height, width) > 1 ? " V" : "";
    if (node.type === "Conv" && height === 1 && width === 1) return stride && `(1x1${stride})`;
    return `(${height}x${width}${stride}${rate}${valid})`;
  }

  // ---- as Python has it

  /** A node as the code of the tables, which makes it again where the names of `inceptions.networks.spec` are imported. */
  function code(node, indent = "") {
    const line = written(node, null);
    return indent.length + line.length <= WIDTH ? line : written(node, indent);
  }

  /** Return code in one line, or in several where an indent is given. */
  function written(node, indent) {
    if (isChain(node)) return chainCode(node, indent);
    if (node === null) return "None";
    if (typeof node === "boolean") return node ? "True" : "False";
    if (typeof node === "string") return JSON.stringify(node);
    if (typeof node === "number") return String(node);
    return call(node.type, argumentsOf(node), indent);
  }

  function call(name, parts, indent) {
    return `${name}(${joined(parts, indent)})`;
  }

  function joined(parts, indent) {
    const texts = parts.map(([key, value]) => [key ? `${key}=` : "", value]);
    if (indent === null) return texts.map(([key, value]) => key + written(value, null)).join(", ");
    const deeper = `${indent}    `;
    return `\n${texts.map(([key, value]) => `${deeper}${key}${code(value, deeper)},\n`).join("")}${indent}`;
  }

  function argumentsOf(node) {
    if (node.type === "Parallel") return Object.entries(node.branches);
    const { needs, fields } = family;
    const given = Object.entries(node).filter(([name, value]) => name !== "type" && !alike(value, fields[node.type][name]));
    return given.map(([name, value]) => [needs[node.type].includes(name) ? "" : name, value]);
  }

  function chainCode(chain, indent) {
    const length = period(chain);
    const times = chain.length / length;
    const parts = chain.slice(0, length).map((part) => ["", part]);
    const comma = indent === null && parts.length === 1 ? "," : "";
    return `(${parts.length ? joined(parts, indent) : ""}${comma})${times > 1 ? ` * ${times}` : ""}`;
  }

  /** The length of the piece that a chain repeats; all of it where it repeats none that has a split in it. */
  function period(chain) {
    for (let length = 1; length <= chain.length / 2; length += 1) {
      const repeats = chain.length % length === 0 && chain.every((part, at) => alike(part, chain[at % length]));
      if (repeats && chain.slice(0, length).some((part) => isChain(part) || ["Parallel", "Residual"].includes(part.type))) return length;
    }
    return chain.length || 1;
  }

  // ---- as the drawings print it

  /** `35x35x192`, or the length of a vector. */
  const shapeText = (shape) => (shape[1] === 1 && shape[2] === 1 ? String(shape[0]) : `${grid(shape)}x${shape[0]}`);

  /** A count in three or so digits: `312 k`, `23.8 M`, `5.7 G`. */
  function amount(count) {
    for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (count >= size) return `${evenly(count / size, count < 100 * size ? 1 : 0)} ${letter}`;
    }
    return String(count);
  }

  /** As Python rounds: what lies exactly between two goes to the even one. */
  function evenly(number, digits) {
    const scaled = number * 10 ** digits;
    const isTie = scaled % 1 === 0.5 && (number * 2 ** 20) % 1 === 0;
    return ((isTie ? 2 * Math.round(scaled / 2) : Math.round(scaled)) / 10 ** digits).toFixed(digits);
  }

  /** Parameters and multiply-adds of one module, or their least and most in several uses of it. */
  function costText(rows) {
    const spread = (name) => {
      const counts = rows.map((row) => row[name]);
      return [...new Set([Math.min(...counts), Math.max(...counts)].map(amount))].join(" to ");
    };
    return `${spread("parameters")} parameters, ${spread("multiply_adds")} multiply-adds`;
  }

  // ---- as the command line says it

  const told = ({ name, node, output, parameters, multiply_adds }) => ({ name, node: label(node), output, parameters, multiply_adds });

  /** What `inceptions describe NAME --json` says of a network. */
  function describe(network, size) {
    const { rows, aux, parameters, parameters_with_aux, multiply_adds } = arithmetic.trace(network, size);
    const { name, title, source, classes, differs_from_paper } = network;
    const totals = { parameters, parameters_with_aux, multiply_adds };
    return { name, title, source, image_size: size, classes, ...totals, stages: rows.map(told), auxiliary_heads: aux.map(told), differs_from_paper };
  }

  return { label, code, shapeText, amount, costText, describe };
})();
