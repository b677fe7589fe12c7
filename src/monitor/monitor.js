// The live page: one table, the worst first, kept up to date over the WebSocket. Everything goes into the page as text.
'use strict';

const LEVELS = {
  danger: { word: 'DANGER', shape: '▲', rank: 0 },
  watch: { word: 'SURVEILLANCE', shape: '◆', rank: 1 },
  nominal: { word: 'NOMINAL', shape: '●', rank: 2 },
  unknown: { word: 'INDÉTERMINÉ', shape: '○', rank: 3 },
};
const NAMES = { flow: 'Débit', pressure: 'Pression', vibration: 'Vibration', temperature: 'Température' };
const QUALITY = { late: 'en retard', stuck: 'figé', out_of_range: 'hors plage', missing: 'absent' };
const JOURNAL_LINES = 30;
const ROWS = 500;

const twins = new Map();
let token = null;
let lastHeard = 0;
let drawing = false;

const byId = (id) => document.getElementById(id);

function cell(tag, text, className) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function levelMark(level) {
  const { word, shape } = LEVELS[level];
  return cell('span', `${shape} ${word}`, `level ${level}`);
}

const sensorName = (key) => NAMES[key] ?? key;
const decimals = (value, digits) => value.toLocaleString('fr-FR', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (risk) => (risk === null ? '—' : `${Math.round(risk * 100)} %`);
const time = (moment) => (moment ? new Date(moment).toLocaleTimeString('fr-FR') : '—');

function sensorCell(twin, key) {
  const sensor = twin.sensors[key];
  if (!sensor || sensor.value === null) return cell('td', '—', 'number doubtful');
  const doubt = QUALITY[sensor.quality];
  const classes = ['number', doubt ? 'doubtful' : '', twin.reason === key && twin.level !== 'nominal' ? 'weighty' : ''];
  const text = `${decimals(sensor.value, 1)} ${sensor.unit}${doubt ? ` (${doubt})` : ''}`;
  return cell('td', text, classes.join(' '));
}

/** Why the level is what it is: the first doubt, or the sensor that weighs most with its share. */
function why(twin) {
  if (twin.doubts.length > 0) return twin.doubts[0].words.fr;
  if (!twin.reason || twin.level === 'nominal') return '';
  const share = twin.sensors[twin.reason]?.contribution;
  return share == null ? sensorName(twin.reason) : `${sensorName(twin.reason)} (${decimals(share, 2)})`;
}

function row(twin, keys) {
  const line = document.createElement('tr');
  line.className = twin.level;
  const level = document.createElement('td');
  level.append(levelMark(twin.level));
  const held = byId('breaker').hidden ? null : 'évaluation suspendue';
  const cause = cell('td', held ?? why(twin));
  cause.title = twin.explanation.words.fr;
  line.append(
    cell('td', twin.id), level, cell('td', percent(twin.risk), 'number'), cause,
    ...keys.map((key) => sensorCell(twin, key)), cell('td', time(twin.last_reading_at)));
  return line;
}

function draw() {
  drawing = false;
  const serving = [...twins.values()].filter((twin) => !twin.retired_at);
  serving.sort((a, b) => LEVELS[a.level].rank - LEVELS[b.level].rank || (b.risk ?? -1) - (a.risk ?? -1) || a.id.localeCompare(b.id));
  const keys = Object.keys(serving[0]?.sensors ?? {});
  const head = document.createElement('tr');
  const titles = ['Locomotive', 'État', 'Risque', 'Cause', ...keys.map(sensorName), 'Dernière mesure'];
  const numeric = (index) => index === 2 || (index > 3 && index < titles.length - 1);
  head.append(...titles.map((title, index) => cell('th', title, numeric(index) ? 'number' : '')));
  byId('head').replaceChildren(head);
  byId('twins').replaceChildren(...serving.slice(0, ROWS).map((twin) => row(twin, keys)));
  byId('counts').replaceChildren(...Object.keys(LEVELS).map((level) => {
    const item = document.createElement('li');
    item.append(levelMark(level), ` ${serving.filter((twin) => twin.level === level).length}`);
    return item;
  }));
}

function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

function note(frame) {
  const line = document.createElement('li');
  line.append(cell('time', time(frame.at)), `${frame.locomotive_id} : `, levelMark(frame.from), ' → ', levelMark(frame.to));
  if (frame.doubt) line.append(` — ${frame.doubt.words.fr}`);
  else if (frame.to !== 'nominal') line.append(` — ${frame.words.fr}`);
  const journal = byId('journal');
  journal.prepend(line);
  while (journal.children.length > JOURNAL_LINES) journal.lastElementChild.remove();
}

function say(state, text) {
  byId('connection').dataset.state = state;
  byId('connection').textContent = text;
}

/** While the breaker is not closed no level is shown, and this says why. */
function showBreaker({ state, reason_fr }) {
  const banner = byId('breaker');
  const word = state === 'open' ? 'Évaluation suspendue' : 'Évaluation à l’essai';
  banner.hidden = state === 'closed';
  banner.textContent = `${word} : ${reason_fr ?? ''}. Rien de ce qui arrive n’est perdu.`;
}

function hear(frame) {
  lastHeard = Date.now();
  token = frame.token ?? token;
  if (frame.type === 'snapshot' && frame.seq === 1) twins.clear();
  // A stream that is opened while the breaker is closed says nothing of it.
  if (frame.type === 'resumed' || (frame.type === 'snapshot' && frame.complete)) showBreaker({ state: 'closed' });
  if (frame.type === 'snapshot' || frame.type === 'twins') {
    for (const twin of frame.items) twins.set(twin.id, twin);
    drawSoon();
  }
  if (frame.type === 'risk') note(frame);
  if (frame.type === 'scoring') showBreaker(frame);
}

function connect() {
  const address = new URL('/ws/fleet', location.href);
  address.protocol = address.protocol.replace('http', 'ws');
  if (token) address.searchParams.set('resume', token);
  const socket = new WebSocket(address);
  socket.onopen = () => { lastHeard = Date.now(); say('live', 'En direct'); };
  socket.onmessage = (message) => hear(JSON.parse(message.data));
  socket.onclose = (event) => {
    say('lost', `Connexion perdue${event.reason ? ` (${event.reason})` : ''} : les valeurs affichées sont celles de ${time(lastHeard)}`);
    setTimeout(retry, 1000);
  };
  // Silence is worse than an end: a heartbeat comes every five seconds.
  const watchdog = setInterval(() => {
    if (socket.readyState === WebSocket.CLOSED) clearInterval(watchdog);
    else if (socket.readyState === WebSocket.OPEN && Date.now() - lastHeard > 12000) socket.close();
  }, 2000);
}

/** A session that has ended cannot be told from a server that is away by the socket alone. */
async function retry() {
  try {
    const answer = await fetch('/model');
    if (answer.status === 401) location.reload();
  } catch {
    // The server is away: the socket's next failure comes back here.
  }
  connect();
}

async function signIn(event) {
  event.preventDefault();
  const answer = await fetch('/session', { method: 'POST', body: byId('key').value });
  if (answer.ok) location.replace('/');
  else byId('error').textContent = 'Cette clé n’est pas valable. (This key is not valid.)';
}

if (byId('sign-in')) byId('sign-in').addEventListener('submit', signIn);
else connect();
