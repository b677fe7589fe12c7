// Shows the OpenAPI document of this server. Text goes into the page as text, never as markup.
'use strict';

function element(tag, text, children = []) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
}

function parameters(operation) {
  const rows = (operation.parameters ?? []).map((p) =>
    element('tr', '', [element('td', '', [element('code', p.name)]), element('td', p.in), element('td', p.description ?? '')]));
  return rows.length ? [element('h4', 'Parameters'), element('table', '', rows)] : [];
}

function route(path, method, operation) {
  const title = element('summary', '', [
    Object.assign(element('span', method.toUpperCase()), { className: 'method' }), element('code', path),
    element('span', ' — ' + (operation.summary ?? ''))]);
  const body = operation.requestBody
    ? [element('h4', 'Body'), element('pre', JSON.stringify(operation.requestBody.content, null, 1))] : [];
  return element('details', '', [title, element('p', operation.description ?? ''), ...parameters(operation), ...body,
    element('h4', 'Answers'), element('pre', JSON.stringify(operation.responses, null, 1))]);
}

fetch('/openapi.json').then((answer) => answer.json()).then((api) => {
  document.getElementById('about').textContent = `${api.info.description} Version ${api.info.version}.`;
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = (operation.tags ?? ['other'])[0];
      groups.set(tag, [...(groups.get(tag) ?? []), route(path, method, operation)]);
    }
  }
  for (const [tag, routes] of groups) document.getElementById('routes').append(element('h2', tag), ...routes);
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    document.getElementById('schemas').append(
      element('details', '', [element('summary', name), element('pre', JSON.stringify(schema, null, 1))]));
  }
});
