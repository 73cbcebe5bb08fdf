// Shapes, costs and receptive fields, worked out from the table alone, as inceptions/networks/trace.py and reshape.py do: the same numbers
// and the same words for what doesn't fit. A node is an object with its `type` and every field of the vocabulary; a list is a chain.
// A shape is [channels, height, width].
"use strict";

const arithmetic = (() => {
  class NetworkError extends Error {}

  const isChain = Array.isArray;
  const pair = (size) => (isChain(size) ? size : [size, size]);
  const grid = ([, height, width]) => `${height}x${width}`;
  const product = (numbers) => numbers.reduce((one, other) => one * other, 1);
  const sum = (costs, name) => costs.reduce((all, cost) => all + cost[name], 0);
  const replace = (node, changes) => ({ ...node, ...changes });
  const WINDOWED = ["Conv", "SeparableConv", "MaxPool", "AvgPool"];

  // ---- tables

  /** The tables with every field filled in: the defaults are the vocabulary's. */
  function expand(value, fields) {
    if (isChain(value)) return value.map((part) => expand(part, fields));
    if (value === null || typeof value !== "object") return value;
    const given = value.type === "Parallel" ? value : { type: value.type, ...fields[value.type], ...value };
    const inner = ([name, part]) => [name, name === "branches" ? mapValues(part, (branch) => expand(branch, fields)) : expand(part, fields)];
    return Object.fromEntries(Object.entries(given).map(inner));
  }

  const mapValues = (values, change) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]));

  // ---- windows

  function paddingRule(node, numerics) {
    if (node.padding === "valid") return "valid";
    if (node.stride === 1) return "tensorflow";
    return node.type.endsWith("Conv") ? numerics.conv_padding : numerics.pool_padding;
  }

  /** How many windows fit along one side of `size` pixels. */
  function windowCount(size, kernel, stride, dilation, rule) {
    const reach = dilation * (kernel - 1) + 1;
    if (rule === "tensorflow") return Math.ceil(size / stride);
    if (rule === "symmetric") return Math.floor((size + 2 * Math.floor((reach - 1) / 2) - reach) / stride) + 1;
    if (rule === "ceil") {
      const count = Math.ceil((size - reach) / stride) + 1;
      return (count - 1) * stride >= size ? count - 1 : count;
    }
    return Math.floor((size - reach) / stride) + 1;
  }

  function windows(node, [, height, width], numerics, where) {
    const [kernelHeight, kernelWidth] = pair(node.kernel);
    const [rule, dilation] = [paddingRule(node, numerics), node.dilation ?? 1];
    const counts = [
      windowCount(height, kernelHeight, node.stride, dilation, rule),
      windowCount(width, kernelWidth, node.stride, dilation, rule),
    ];
    if (Math.min(...counts) < 1) {
      const window = `a ${node.type} of ${kernelHeight}x${kernelWidth}`;
      throw new NetworkError(`${where}: ${window} doesn't fit on a grid of ${height}x${width}; give a larger image`);
    }
    return counts;
  }

  // ---- what one node leaves and costs

  // What flows between nodes: a shape; `field`, the pixels (height and width) of the image that one of its cells can see, padding not cut
  // off, Infinity for the whole image; and `step`, the pixels between what two neighbouring cells see.
  const image = (channels, size) => ({ shape: [channels, size, size], field: [1, 1], step: [1, 1] });
  const cost = (output, parameters = 0, multiply_adds = 0) => ({ output, parameters, multiply_adds });
  const together = (output, costs) => cost(output, sum(costs, "parameters"), sum(costs, "multiply_adds"));

  /** What `node` leaves and costs when it reads `input`. Each node in it that is no chain is put into `seen`, in the order written. */
  function traceNode(node, input, context) {
    if (isChain(node)) {
      const costs = [];
      for (const part of node) costs.push(traceNode(part, costs.at(-1)?.output ?? input, context));
      return together(costs.at(-1)?.output ?? input, costs);
    }
    const entry = { node, path: context.path ?? [], reads: input.shape };
    context.seen?.push(entry);
    const made = (KINDS[node.type] ?? pass)(node, input, context);
    return Object.assign(entry, { cost: made, leaves: made.output.shape }).cost;
  }

  const pass = (node, input) => cost(input);

  function slide(node, input, context, channels) {
    const [kernel, dilation] = [pair(node.kernel), node.dilation ?? 1];
    return {
      shape: [channels, ...windows(node, input.shape, context.numerics, context.where)],
      field: input.field.map((seen, side) => seen + dilation * (kernel[side] - 1) * input.step[side]),
      step: input.step.map((step) => step * node.stride),
    };
  }

  function weighted(node, output, weights, cells, extra = 0) {
    const hasBias = node.bias ?? !node.norm;
    return cost(output, weights + (hasBias ? node.channels : 0) + 2 * (node.norm ? node.channels : 0) + 2 * extra, weights * cells);
  }

  const cells = ({ shape: [, height, width] }) => height * width;

  function traceConv(node, input, context) {
    const output = slide(node, input, context, node.channels);
    return weighted(node, output, product(pair(node.kernel)) * (input.shape[0] / node.groups) * node.channels, cells(output));
  }

  function traceSeparable(node, input, context) {
    const middle = input.shape[0] * node.multiplier;
    const output = slide(node, input, context, node.channels);
    const weights = product(pair(node.kernel)) * middle + middle * node.channels;
    return weighted(node, output, weights, cells(output), node.depthwise_norm ? middle : 0);
  }

  function traceLinear(node, input) {
    const output = { shape: [node.channels, 1, 1], field: cells(input) > 1 ? [Infinity, Infinity] : input.field, step: input.step };
    return weighted(node, output, product(input.shape) * node.channels, 1);
  }

  /** The cells of its grid read from floor(i * size / grid) to ceil((i + 1) * size / grid), as torch has it. */
  function traceAdaptive(node, input) {
    const sizes = input.shape.slice(1);
    const reach = (size, at) => Math.ceil(((at + 1) * size) / node.grid) - Math.floor((at * size) / node.grid);
    const reaches = sizes.map((size) => Math.max(...Array.from({ length: node.grid }, (_, at) => reach(size, at))));
    return cost({
      shape: [input.shape[0], node.grid, node.grid],
      field: input.field.map((seen, side) => (node.grid === 1 && sizes[side] > 1 ? Infinity : seen + (reaches[side] - 1) * input.step[side])),
      step: input.step.map((step, side) => (step * sizes[side]) / node.grid),
    });
  }

  function widest(outputs, shape) {
    const most = (name) => [0, 1].map((side) => Math.max(...outputs.map((output) => output[name][side])));
    return { shape, field: most("field"), step: most("step") };
  }

  function traceParallel(node, input, context) {
    const costs = mapValues(node.branches, () => null);
    for (const [name, branch] of Object.entries(node.branches)) {
      costs[name] = traceNode(branch, input, inside(context, `branch '${name}'`, name));
    }
    const outputs = Object.values(costs).map(({ output }) => output);
    if (new Set(outputs.map(({ shape }) => grid(shape))).size > 1) {
      const grids = Object.entries(costs).map(([name, { output }]) => `${name} ${grid(output.shape)}`);
      throw new NetworkError(`${context.where}: branches end on different grids: ${grids.join(", ")}; check stride or padding`);
    }
    const channels = outputs.reduce((all, { shape }) => all + shape[0], 0);
    return together(widest(outputs, [channels, ...outputs[0].shape.slice(1)]), Object.values(costs));
  }

  function traceResidual(node, input, context) {
    const body = traceNode(node.body, input, inside(context, "body", "body"));
    const shortcut = traceNode(node.shortcut, input, inside(context, "shortcut", "shortcut"));
    const [left, beside] = [body.output.shape, shortcut.output.shape];
    if (String(left) !== String(beside)) {
      const both = `body leaves ${left[0]} channels on ${grid(left)}, shortcut ${beside[0]} on ${grid(beside)}`;
      throw new NetworkError(`${context.where}: ${both}; they must be alike to be added`);
    }
    return together(widest([body.output, shortcut.output], left), [body, shortcut]);
  }

  const inside = (context, words, name) => ({ ...context, where: `${context.where}, ${words}`, path: [...(context.path ?? []), name] });

  const KINDS = {
    Conv: traceConv,
    SeparableConv: traceSeparable,
    Linear: traceLinear,
    MaxPool: (node, input, context) => cost(slide(node, input, context, input.shape[0])),
    AvgPool: (node, input, context) => cost(slide(node, input, context, input.shape[0])),
    AdaptiveAvgPool: traceAdaptive,
    BatchNorm: (node, input) => cost(input, 2 * input.shape[0]),
    Parallel: traceParallel,
    Residual: traceResidual,
  };

  // ---- a whole network

  function row(network, name, node, input, where) {
    const context = { numerics: network.numerics, where, seen: [] };
    const { output, parameters, multiply_adds } = traceNode(node, input, context);
    return { name, node, reads: input.shape, output: output.shape, flow: output, parameters, multiply_adds, seen: context.seen };
  }

  function stageRows(network, size) {
    let flow = image(network.in_channels, size);
    return network.stages.map((stage) => {
      const made = row(network, stage.name, stage.node, flow, `stage '${stage.name}'`);
      flow = made.flow;
      return made;
    });
  }

  const classifier = (channels) => ({ type: "Linear", channels, norm: false, bias: null, activation: null, init: null });

  /** The table at `size` pixels: stages, then head and classifier; auxiliary heads apart, or none where one of them doesn't fit. */
  function trace(network, size) {
    const rows = stageRows(network, size);
    const flows = Object.fromEntries(rows.map((made) => [made.name, made.flow]));
    const tail = [...network.head, network.classes ? classifier(network.classes) : network.embedding];
    rows.push(row(network, "head", tail, rows.at(-1).flow, "head"));
    let aux = [];
    try {
      aux = network.aux.map(({ after, layers }) =>
        row(network, `aux ${after}`, [layers, classifier(Math.max(network.classes, 1))], flows[after], `auxiliary head on '${after}'`),
      );
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
    }
    const [parameters, multiply_adds] = [sum(rows, "parameters"), sum(rows, "multiply_adds")];
    return { rows, aux, parameters, multiply_adds, parameters_with_aux: parameters + sum(aux, "parameters") };
  }

  function strideOf(node) {
    if (isChain(node)) return product(node.map(strideOf));
    if (node.type === "Parallel") return Math.max(...Object.values(node.branches).map(strideOf));
    if (node.type === "Residual") return strideOf(node.body);
    return WINDOWED.includes(node.type) ? node.stride : 1;
  }

  /** How many pixels of the image one cell of the last grid stands for, along one side. */
  const reduction = (network) => product(network.stages.map(({ node }) => strideOf(node)));

  function fits(network, size) {
    try {
      stageRows(network, size);
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      return false;
    }
    return true;
  }

  const nearest = (network, size, step) => (fits(network, size) ? size : nearest(network, size + step, step));
  const smallestImage = (network) => nearest(network, reduction(network), 1);

  /** What is wrong with images of `size` pixels, and the sizes that would do; null where they go through every stage. */
  function refuse(network, size) {
    const cell = reduction(network);
    let reason = `one cell of the last grid stands for ${cell}x${cell} pixels`;
    if (size >= cell) {
      try {
        stageRows(network, size);
        return null;
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        reason = error.message;
      }
    }
    const least = smallestImage(network);
    // Above the smallest there are odd grids on which branches round differently.
    const better = size < least ? [least] : [nearest(network, size, -1), nearest(network, size, 1)];
    const [one, other] = better.map((side) => `${side}x${side}`);
    const advice = other ? `${one} and ${other} are the nearest squares that fit` : `the smallest square image is ${one}`;
    return { message: `${network.name} can't take images of ${size}x${size} pixels (${reason}); ${advice}`, better };
  }

  // ---- other networks made of one

  const withClasses = (network, classes) => replace(network, { classes });

  /** The network with a last grid of 1/`outputStride` of the image, by dilation in place of later strides; heads on changed grids go. */
  function dilate(network, outputStride) {
    let [stride, rate] = [1, 1];
    const changed = new Set();
    const stages = network.stages.map((stage) => {
      stride *= strideOf(stage.node);
      if (stride <= outputStride) return stage;
      changed.add(stage.name);
      let node;
      [node, rate] = dilated(stage.node, rate);
      return replace(stage, { node });
    });
    return replace(network, { stages, aux: network.aux.filter(({ after }) => !changed.has(after)) });
  }

  /** The node without its strides, and the rate of what comes after it. */
  function dilated(node, rate) {
    if (isChain(node)) {
      const parts = [];
      for (const part of node) {
        const [changed, after] = dilated(part, rate);
        parts.push(changed);
        rate = after;
      }
      return [parts, rate];
    }
    if (node.type === "Parallel") {
      const branches = mapValues(node.branches, (branch) => dilated(branch, rate));
      const after = Math.max(...Object.values(branches).map((pair) => pair[1]));
      return [replace(node, { branches: mapValues(branches, ([branch]) => branch) }), after];
    }
    if (node.type === "Residual") {
      const [body, after] = dilated(node.body, rate);
      return [replace(node, { body, shortcut: dilated(node.shortcut, rate)[0] }), after];
    }
    if (!WINDOWED.includes(node.type)) return [node, rate];
    const dilation = Math.max(...pair(node.kernel)) > 1 ? rate : 1;
    const changes = { stride: 1, padding: "same", ...(node.type === "AvgPool" ? {} : { dilation }) };
    return [replace(node, changes), rate * node.stride];
  }

  return { NetworkError, expand, trace, refuse, reduction, smallestImage, withClasses, dilate, isChain, pair, grid };
})();
